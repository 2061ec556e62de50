/* microphone.c -- samples by DMA into a double buffer, and from there into the ring.
 *
 * ADC  TC4 wraps once a sample and starts the converter through the event system; the converter adds up its
 *      conversions and hands the sum to the DMA. Reference half the supply, gain 1/2: the range is the supply.
 * I2S  the first slot of two with 32 bits, clock made here.
 */
#include "port/port.h"

#if defined(MICROPHONE_KIND)

#include "audio_registers.h"
#include "clock.h"
#include "counter.h"
#include "dma.h"
#include "frontend/offset.h"
#include "link/link_schema.h"
#include "uart.h"

#define IS_ADC (MICROPHONE_KIND == 1) /* LINK_MICROPHONE_ADC */
#define GENERATOR 3u
#define GENERATOR_SOURCE_HZ 48000000u /* the DFLL, whatever the CPU's divider is */
#define BLOCK PORT_MICROPHONE_BLOCK
#define MUX_B 1u
#define MUX_G 6u

/* Cycles that the core takes to enter the handler and to return. */
#define EXCEPTION_CYCLES 28u

#if IS_ADC
typedef uint16_t raw;
#define BLOCK_WIDTH DMAC_BLOCK_HALFWORD
#define TRIGGER DMAC_TRIGGER_ADC
#define SOURCE ADC_RESULT
/* CLK_ADC may have 2.1 MHz (data sheet, "ADC characteristics"): 8 MHz from the generator, divided by 4. */
#define GENERATOR_DIVIDER 6u
#else
typedef uint32_t raw;
#define BLOCK_WIDTH DMAC_BLOCK_WORD
#define TRIGGER DMAC_TRIGGER_I2S_RX0
#define SOURCE I2S_DATA0
#define FRAME_BITS 64u
#define GENERATOR_DIVIDER ((GENERATOR_SOURCE_HZ + MICROPHONE_RATE * FRAME_BITS / 2u) / (MICROPHONE_RATE * FRAME_BITS))
#endif

static volatile struct dma_descriptor second __attribute__((aligned(16)));
static volatile raw buffer[2][BLOCK];
static int16_t ring[MICROPHONE_RING];
static struct offset offset;
static volatile uint32_t samples, lost, cycles_sampling;
static volatile bool news;
static uint32_t half; /* of the buffer that is full next */

static inline int32_t centred(raw value)
{
#if IS_ADC
    const uint32_t missing = MICROPHONE_OVERSAMPLE_LOG2 < 4u ? 4u - MICROPHONE_OVERSAMPLE_LOG2 : 0u;

    return (((int32_t)value << missing) - 32768) * (1 << MICROPHONE_GAIN_LOG2);
#else
    return (int32_t)value >> (16u - MICROPHONE_GAIN_LOG2);
#endif
}

static uint32_t address_behind(uint32_t which)
{
    return (uint32_t)(uintptr_t)&buffer[which][BLOCK];
}

void microphone_block(void)
{
    const uint32_t began = SYST_CVR;
    int16_t *to = ring + samples % MICROPHONE_RING;
    const volatile raw *from = buffer[half];

    if (dma_under_way[DMA_SAMPLES].target != address_behind(half ^ 1u)) {
        /* The DMA is back in this half: a block and what is left of this one are lost. */
        samples += 2u * BLOCK;
        lost = samples;
    } else {
        struct offset state = offset;

        for (uint32_t i = 0; i < BLOCK; i++) {
            to[i] = offset_remove(&state, centred(from[i]));
        }
        offset = state;
        samples += BLOCK;
        half ^= 1u;
    }
    news = true;
    cycles_sampling += ((began - SYST_CVR) & COUNTER_MASK) + EXCEPTION_CYCLES;
}

static void wait_for_gclk(void)
{
    while ((GCLK_STATUS & GCLK_STATUS_SYNCBUSY) != 0) {
    }
}

/* A generic clock is turned off before it changes its generator (data sheet, "Configuring a Generic Clock"). */
static void clock_channel(uint32_t channel, uint32_t generator)
{
    GCLK_CLKCTRL = (uint16_t)channel;
    wait_for_gclk();
    GCLK_CLKCTRL = (uint16_t)(GCLK_CLKCTRL_CLKEN | GCLK_CLKCTRL_GEN(generator) | channel);
    wait_for_gclk();
}

static void start_generator(uint32_t divider)
{
    GCLK_GENDIV = GCLK_GENDIV_DIV(divider) | GENERATOR;
    wait_for_gclk();
    GCLK_GENCTRL = GCLK_GENCTRL_GENEN | GCLK_GENCTRL_SRC_DFLL48M | GENERATOR;
    wait_for_gclk();
}

static void connect(uint32_t group, uint32_t pin, uint32_t mux)
{
    const uint32_t place = pin % 2u * 4u;
    const uint32_t others = PORT_PMUX(group, pin) & (0xF0u >> place);

    PORT_PMUX(group, pin) = (uint8_t)(others | mux << place);
    PORT_PINCFG(group, pin) = PORT_PINCFG_PMUXEN;
}

static void wait_for_adc(void)
{
    while ((ADC_STATUS & ADC_STATUS_SYNCBUSY) != 0) {
    }
}

/* Sums of 2^log2 conversions, shifted down by `down`. */
static void prepare_adc(uint32_t reference, uint32_t log2, uint32_t down, uint32_t input, uint32_t prescaler)
{
    const uint32_t linearity = CALIBRATION_WORD_0 >> 27 | (CALIBRATION_WORD_1 & 7u) << 5;
    const uint32_t bias = CALIBRATION_WORD_1 >> 3 & 7u;

    PM_APBCMASK |= PM_APBCMASK_ADC;
    ADC_CTRLA = ADC_CTRLA_SWRST;
    wait_for_adc();
    ADC_CALIB = (uint16_t)(bias << 8 | linearity);
    ADC_REFCTRL = (uint8_t)reference;
    ADC_AVGCTRL = (uint8_t)(ADC_AVGCTRL_ADJRES(down) | log2);
    ADC_CTRLB = (uint16_t)(prescaler | (log2 > 0 ? ADC_CTRLB_16BIT : 0u));
    wait_for_adc();
    ADC_INPUTCTRL = input | ADC_INPUTCTRL_GROUND;
    wait_for_adc();
    ADC_CTRLA = ADC_CTRLA_ENABLE;
    wait_for_adc();
}

#define SUPPLY_CONVERSIONS_LOG2 4u
#define SUPPLY_MV_PER_4096 4000u /* a quarter of the supply against 1 V */

uint16_t port_supply_mv(void)
{
    uint32_t code = 0;

    clock_channel(GCLK_CLKCTRL_ADC, 0);
    prepare_adc(
        ADC_REFCTRL_1V, SUPPLY_CONVERSIONS_LOG2, SUPPLY_CONVERSIONS_LOG2, ADC_INPUTCTRL_QUARTER_SUPPLY, ADC_CTRLB_DIV32);
    for (uint32_t i = 0; i < 2u; i++) { /* the first result after a change of the reference is not to be used */
        ADC_SWTRIG = ADC_SWTRIG_START;
        while ((ADC_INTFLAG & ADC_INT_RESRDY) == 0) {
        }
        code = ADC_RESULT;
    }
    ADC_CTRLA = 0;
    wait_for_adc();
    return (uint16_t)((code * SUPPLY_MV_PER_4096 + 2048u) / 4096u);
}

static void fill(volatile struct dma_descriptor *descriptor, uint32_t which, const volatile struct dma_descriptor *next)
{
    descriptor->control = DMAC_BLOCK_VALID | DMAC_BLOCK_INTERRUPT | BLOCK_WIDTH | DMAC_BLOCK_STEP_TARGET;
    descriptor->count = BLOCK;
    descriptor->source = (uint32_t)(uintptr_t)&SOURCE;
    descriptor->target = address_behind(which);
    descriptor->next = next;
}

static void start_dma(void)
{
    fill(&dma_first[DMA_SAMPLES], 0, &second);
    fill(&second, 1, &dma_first[DMA_SAMPLES]);
    dma_start(DMA_SAMPLES, TRIGGER);
}

#if IS_ADC
static void wait_for_tc(void)
{
    while ((TC4_STATUS & TC_STATUS_SYNCBUSY) != 0) {
    }
}

static uint32_t start_source(void)
{
    const uint32_t period = (clock_hz() + MICROPHONE_RATE / 2u) / MICROPHONE_RATE;

    connect(MICROPHONE_GROUP, MICROPHONE_PIN, MUX_B);
    clock_channel(GCLK_CLKCTRL_ADC, GENERATOR);
    prepare_adc(
        ADC_REFCTRL_HALF_SUPPLY, MICROPHONE_OVERSAMPLE_LOG2, 0, MICROPHONE_INPUT | ADC_INPUTCTRL_GAIN_HALF,
        ADC_CTRLB_DIV4);
    ADC_EVCTRL = ADC_EVCTRL_STARTEI;
    PM_APBCMASK |= PM_APBCMASK_EVSYS | PM_APBCMASK_TC4;
    clock_channel(GCLK_CLKCTRL_TC4, 0);
    EVSYS_USER = EVSYS_USER_ADC_START(0u);
    EVSYS_CHANNEL = EVSYS_CHANNEL_TC4_OVF | EVSYS_CHANNEL_ASYNCHRONOUS;
    TC4_CC0 = (uint16_t)(period - 1u);
    wait_for_tc();
    TC4_EVCTRL = TC_EVCTRL_OVFEO;
    TC4_CTRLA = TC_CTRLA_MATCH_FREQUENCY | TC_CTRLA_ENABLE;
    wait_for_tc();
    return period << 8;
}

void port_microphone_stop(void)
{
    TC4_CTRLA = 0;
    wait_for_tc();
    ADC_CTRLA = 0;
    wait_for_adc();
    dma_stop(DMA_SAMPLES);
}
#else
static void wait_for_i2s(void)
{
    while (I2S_SYNCBUSY != 0) {
    }
}

static uint32_t start_source(void)
{
    connect(MICROPHONE_SCK_GROUP, MICROPHONE_SCK_PIN, MUX_G);
    connect(MICROPHONE_FS_GROUP, MICROPHONE_FS_PIN, MUX_G);
    connect(MICROPHONE_SD_GROUP, MICROPHONE_SD_PIN, MUX_G);
    PM_APBCMASK |= PM_APBCMASK_I2S;
    clock_channel(GCLK_CLKCTRL_I2S0, GENERATOR);
    I2S_CTRLA = I2S_CTRLA_SWRST;
    wait_for_i2s();
    I2S_CLKCTRL0 = I2S_CLKCTRL_SLOT_32 | I2S_CLKCTRL_SLOTS_2 | I2S_CLKCTRL_BIT_DELAY;
    I2S_SERCTRL0 = I2S_SERCTRL_WITHOUT_SLOT_1;
    I2S_CTRLA = I2S_CTRLA_ENABLE | I2S_CTRLA_CKEN0 | I2S_CTRLA_SEREN0;
    wait_for_i2s();
    /* the generator runs at the DFLL, which the CPU may divide */
    return GENERATOR_DIVIDER * FRAME_BITS * (256u / (GENERATOR_SOURCE_HZ / (clock_hz() + clock_hz() / 100u) + 1u));
}

void port_microphone_stop(void)
{
    I2S_CTRLA = 0;
    wait_for_i2s();
    dma_stop(DMA_SAMPLES);
}
#endif

void port_microphone_start(struct port_microphone *microphone)
{
    start_generator(GENERATOR_DIVIDER);
    offset = (struct offset){0, false};
    samples = lost = cycles_sampling = half = 0;
    start_dma();
    microphone->cycles_q8 = start_source();
    microphone->rate_millihertz = (uint32_t)(((uint64_t)clock_hz() * 256000u + microphone->cycles_q8 / 2u) / microphone->cycles_q8);
}

uint32_t port_microphone_samples(void)
{
    return samples;
}

const int16_t *port_microphone_ring(void)
{
    return ring;
}

uint32_t port_microphone_lost(void)
{
    return lost;
}

uint32_t port_cycles_sampling(void)
{
    return cycles_sampling;
}

static volatile uint32_t cycles_asleep;

uint32_t port_cycles_asleep(void)
{
    return cycles_asleep;
}

void port_microphone_idle(void)
{
    interrupts_off();
    if (!uart_has_byte() && !news) {
        const uint32_t began = SYST_CVR;

        wait_for_interrupt();
        cycles_asleep += (began - SYST_CVR) & COUNTER_MASK;
    }
    news = false;
    interrupts_on();
}

#endif
