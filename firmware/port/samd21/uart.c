#include "uart.h"

#include "board.h"
#include "clock.h"
#include "counter.h"
#include "link/link_schema.h"
#include "port/port.h"
#include "registers.h"

#if defined(MICROPHONE_KIND)
#include "audio_registers.h"
#include "dma.h"
#endif

/* Powers of two. Without STREAM a request is taken out of the receive ring as it arrives, and the host
 * has nothing to send during an answer (docs/link.md). With it all but one of a window can come
 * while the one before is worked on. */
#define RX_RING 2048u
#if defined(MICROPHONE_KIND)
#define TX_RING 1024u /* a frame is sent while the next is made */
#define TX_CHUNK 256u /* most bytes that the DMA sends before their room is given back */
#else
#define TX_RING 256u
#endif
#if (LINK_WINDOW - 1u) * LINK_MAX_STREAM_LINE > RX_RING
#error "the receive ring is smaller than a window"
#endif

/* The baud generator counts in 1/65536 of the clock, 16 samples a bit (data sheet,
 * "arithmetic baud"): BAUD = 65536 - steps, steps = 65536 * 16 * baud / clock_hz(). */
#define BAUD_STEPS_LOG2 20u
#define BAUD_REGISTER_RANGE 65536u
#define BAUD_TOLERANCE 50u /* 1/50 is 2 % */

static volatile uint8_t rx_ring[RX_RING], tx_ring[TX_RING];
static volatile uint32_t rx_head, rx_tail; /* written by the handler, by port_read */
static volatile uint32_t tx_head, tx_tail; /* written by port_write, by the handler */
static volatile bool tx_busy;              /* from the first byte queued to the last stop bit */
static volatile uint32_t overruns;
static uint32_t line_baud;
static bool ready;

void BOARD_SERCOM_HANDLER(void);

static void receive(void)
{
    if ((SERCOM_STATUS(BOARD_SERCOM) & SERCOM_STATUS_BUFOVF) != 0) {
        SERCOM_STATUS(BOARD_SERCOM) = SERCOM_STATUS_BUFOVF;
        overruns++;
    }
    const uint8_t byte = (uint8_t)SERCOM_DATA(BOARD_SERCOM);
    if (rx_head - rx_tail == RX_RING) {
        overruns++;
        return;
    }
    rx_ring[rx_head % RX_RING] = byte;
    rx_head++;
}

#if defined(MICROPHONE_KIND)
static volatile uint32_t tx_chunk; /* bytes that the DMA is sending */

/* With interrupts off: let the DMA send what is queued, or wait for the last stop bit. */
static void send_chunk(void)
{
    const uint32_t n = tx_head - tx_tail, place = tx_tail % TX_RING, to_end = TX_RING - place;
    volatile struct dma_descriptor *first = &dma_first[DMA_LINE];

    if (n == 0) {
        SERCOM_INTENSET(BOARD_SERCOM) = SERCOM_INT_TXC;
        return;
    }
    SERCOM_INTENCLR(BOARD_SERCOM) = SERCOM_INT_TXC;
    tx_chunk = n < TX_CHUNK ? n : TX_CHUNK;
    tx_chunk = tx_chunk < to_end ? tx_chunk : to_end;
    first->control = DMAC_BLOCK_VALID | DMAC_BLOCK_INTERRUPT | DMAC_BLOCK_BYTE | DMAC_BLOCK_STEP_SOURCE;
    first->count = (uint16_t)tx_chunk;
    first->source = (uint32_t)(uintptr_t)(tx_ring + place + tx_chunk);
    first->target = (uint32_t)(uintptr_t)&SERCOM_DATA(BOARD_SERCOM);
    first->next = NULL;
    dma_start(DMA_LINE, DMAC_TRIGGER_SERCOM_TX(BOARD_SERCOM));
}

void uart_chunk_sent(void)
{
    tx_tail += tx_chunk;
    tx_chunk = 0;
    send_chunk();
}
#endif

static void send_next(void)
{
    if (tx_head == tx_tail) {
        SERCOM_INTENCLR(BOARD_SERCOM) = SERCOM_INT_DRE;
        SERCOM_INTENSET(BOARD_SERCOM) = SERCOM_INT_TXC;
        return;
    }
    SERCOM_DATA(BOARD_SERCOM) = tx_ring[tx_tail % TX_RING]; /* clears TXC as well */
    tx_tail++;
}

static void end_sending(void)
{
    SERCOM_INTENCLR(BOARD_SERCOM) = SERCOM_INT_TXC;
    if (tx_head == tx_tail) {
        tx_busy = false;
    }
}

void BOARD_SERCOM_HANDLER(void)
{
    const uint8_t flags = SERCOM_INTFLAG(BOARD_SERCOM) & SERCOM_INTENSET(BOARD_SERCOM);

    counter_interrupts++;
    if ((flags & SERCOM_INT_RXC) != 0) {
        receive();
    }
    if ((flags & SERCOM_INT_DRE) != 0) {
        send_next();
    } else if ((flags & SERCOM_INT_TXC) != 0) {
        end_sending();
    }
}

static uint32_t baud_steps(uint32_t baud)
{
    return (uint32_t)((((uint64_t)baud << BAUD_STEPS_LOG2) + clock_hz() / 2u) / clock_hz());
}

bool port_baud_possible(uint32_t baud)
{
    if (baud == 0 || baud > clock_hz() / 16u) {
        return false;
    }
    const uint32_t steps = baud_steps(baud);
    const uint32_t made = (uint32_t)(((uint64_t)steps * clock_hz()) >> BAUD_STEPS_LOG2);
    const uint32_t error = made > baud ? made - baud : baud - made;
    return steps >= 1 && steps <= BAUD_REGISTER_RANGE && error <= baud / BAUD_TOLERANCE;
}

static void wait_for_uart(void)
{
    while (SERCOM_SYNCBUSY(BOARD_SERCOM) != 0) {
    }
}

void port_set_baud(uint32_t baud)
{
    SERCOM_CTRLA(BOARD_SERCOM) &= ~SERCOM_CTRLA_ENABLE; /* BAUD is protected while enabled */
    wait_for_uart();
    SERCOM_BAUD(BOARD_SERCOM) = (uint16_t)(BAUD_REGISTER_RANGE - baud_steps(baud));
    SERCOM_CTRLA(BOARD_SERCOM) |= SERCOM_CTRLA_ENABLE;
    wait_for_uart();
    line_baud = baud;
}

static void connect_pin(uint32_t group, uint32_t pin, uint32_t config)
{
    const uint32_t place = pin % 2u * 4u;
    const uint32_t others = PORT_PMUX(group, pin) & (0xF0u >> place);

    PORT_PMUX(group, pin) = (uint8_t)(others | BOARD_MUX << place);
    PORT_PINCFG(group, pin) = (uint8_t)(config | PORT_PINCFG_PMUXEN);
}

static void connect(void)
{
    PM_APBCMASK |= PM_APBCMASK_SERCOM(BOARD_SERCOM);
    GCLK_CLKCTRL = (uint16_t)(GCLK_CLKCTRL_CLKEN | GCLK_CLKCTRL_GEN(0u) | GCLK_CLKCTRL_SERCOM_CORE(BOARD_SERCOM));
    while ((GCLK_STATUS & GCLK_STATUS_SYNCBUSY) != 0) {
    }
    PORT_OUTSET(BOARD_RX_GROUP) = 1u << BOARD_RX_PIN; /* pull up: an open line is idle, not noise */
    connect_pin(BOARD_RX_GROUP, BOARD_RX_PIN, PORT_PINCFG_INEN | PORT_PINCFG_PULLEN);
    connect_pin(BOARD_TX_GROUP, BOARD_TX_PIN, 0);
}

void uart_init(void)
{
#if defined(MICROPHONE_KIND)
    dma_init();
#endif
    connect();
    SERCOM_CTRLA(BOARD_SERCOM) = SERCOM_CTRLA_SWRST;
    wait_for_uart();
    SERCOM_CTRLA(BOARD_SERCOM) = SERCOM_CTRLA_MODE_USART_INTERNAL | SERCOM_CTRLA_TXPO(BOARD_TXPO)
        | SERCOM_CTRLA_RXPO(BOARD_RXPO) | SERCOM_CTRLA_DORD_LSB;
    SERCOM_CTRLB(BOARD_SERCOM) = SERCOM_CTRLB_TXEN | SERCOM_CTRLB_RXEN;
    wait_for_uart();
    port_set_baud(UART_RESET_BAUD);
    SERCOM_INTENSET(BOARD_SERCOM) = SERCOM_INT_RXC;
    NVIC_ISER = 1u << NVIC_IRQ_SERCOM(BOARD_SERCOM);
    ready = true;
}

bool uart_ready(void)
{
    return ready;
}

uint32_t uart_baud(void)
{
    return line_baud;
}

bool uart_has_byte(void)
{
    return rx_head != rx_tail;
}

int port_read(void)
{
    if (rx_head == rx_tail) {
        return -1;
    }
    const uint8_t byte = rx_ring[rx_tail % RX_RING];
    rx_tail++;
    return byte;
}

static bool tx_full(void)
{
    return tx_head - tx_tail == TX_RING;
}

static bool tx_underway(void)
{
    return tx_busy;
}

/* Sleep as long as `condition` holds. An interrupt between the look and the sleep is not lost. */
static void sleep_while(bool (*condition)(void))
{
    interrupts_off();
    while (condition()) {
        wait_for_interrupt();
        interrupts_on();
        interrupts_off();
    }
    interrupts_on();
}

#if defined(MICROPHONE_KIND)
void port_write(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n;) {
        sleep_while(tx_full);
        while (i < n && !tx_full()) {
            tx_ring[tx_head % TX_RING] = bytes[i++];
            tx_head++;
        }
        interrupts_off();
        tx_busy = true;
        if (tx_chunk == 0) {
            send_chunk();
        }
        interrupts_on();
    }
}
#else
void port_write(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sleep_while(tx_full);
        tx_ring[tx_head % TX_RING] = bytes[i];
        tx_busy = true;
        tx_head++;
        SERCOM_INTENSET(BOARD_SERCOM) = SERCOM_INT_DRE;
    }
}
#endif

#if defined(MICROPHONE_KIND)
size_t port_write_room(void)
{
    return TX_RING - (tx_head - tx_tail);
}
#endif

void port_drain(void)
{
    sleep_while(tx_underway);
}

void port_write_polled(const uint8_t *bytes, size_t n)
{
#if defined(MICROPHONE_KIND)
    dma_stop(DMA_LINE);
#endif
    SERCOM_INTENCLR(BOARD_SERCOM) = SERCOM_INT_DRE | SERCOM_INT_TXC | SERCOM_INT_RXC;
    for (size_t i = 0; i < n; i++) {
        while ((SERCOM_INTFLAG(BOARD_SERCOM) & SERCOM_INT_DRE) == 0) {
        }
        SERCOM_DATA(BOARD_SERCOM) = bytes[i];
    }
    while (n > 0 && (SERCOM_INTFLAG(BOARD_SERCOM) & SERCOM_INT_TXC) == 0) {
    }
}

uint32_t port_overruns(void)
{
    return overruns;
}
