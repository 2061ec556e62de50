#include "counter.h"

#include "clock.h"
#include "port/port.h"
#include "registers.h"
#include "trace.h"

volatile uint32_t counter_interrupts;

static volatile uint32_t wraps;  /* of SysTick since it was zeroed */
static uint64_t cycles_before;   /* since reset, up to that moment */
static uint32_t window_cost;     /* of an empty window */
static uint32_t wrap_cost;       /* of systick_handler, entry and return included */

void systick_handler(void);

void systick_handler(void)
{
    wraps++;
}

/* Cycles since the counter was zeroed. Call with interrupts off. */
static uint64_t elapsed(void)
{
    const uint32_t counted = (0u - SYST_CVR) & COUNTER_MASK;
    const uint32_t pending = (SCB_ICSR & SCB_ICSR_PENDSTSET) != 0 && counted <= COUNTER_MASK / 2u ? 1u : 0u;

    return ((uint64_t)(wraps + pending) << COUNTER_BITS) + counted;
}

static void invalidate_flash_cache(void)
{
    NVMCTRL_CTRLA = NVMCTRL_CTRLA_INVALL;
    while ((NVMCTRL_INTFLAG & NVMCTRL_INTFLAG_READY) == 0) {
    }
}

void port_window_open(void)
{
    trace_off();
    port_drain();
    interrupts_off();
    cycles_before += elapsed();
    SYST_CVR = 0;
    SCB_ICSR = SCB_ICSR_PENDSTCLR; /* a wrap still pending has just been counted */
    wraps = 0;
    counter_interrupts = 0;
    interrupts_on();
    invalidate_flash_cache();
    SYST_CVR = 0;
}

uint32_t port_window_close(uint16_t *interrupts)
{
    interrupts_off();
    const uint64_t cycles = elapsed();
    const uint32_t taken = counter_interrupts;
    const uint64_t cost = window_cost + (uint64_t)wraps * wrap_cost;
    trace_on();
    interrupts_on();

    *interrupts = (uint16_t)(taken < UINT16_MAX ? taken : UINT16_MAX);
    const uint64_t net = cycles > cost ? cycles - cost : 0;
    return net < UINT32_MAX ? (uint32_t)net : UINT32_MAX;
}

uint32_t port_window_overhead(void)
{
    return window_cost;
}

static uint64_t uptime_cycles(void)
{
    interrupts_off();
    const uint64_t cycles = cycles_before + elapsed();
    interrupts_on();
    return cycles;
}

uint32_t port_uptime_ms(void)
{
    return (uint32_t)(uptime_cycles() / (clock_hz() / 1000u));
}

uint32_t port_uptime_us(void)
{
    const uint64_t cycles = uptime_cycles();
    const uint32_t per_ms = clock_hz() / 1000u;

    return (uint32_t)(cycles / per_ms * 1000u + cycles % per_ms * 1000u / per_ms);
}

#if defined(MICROPHONE_KIND)
uint32_t port_cycles(void)
{
    return (uint32_t)uptime_cycles();
}

void port_uptime(uint32_t *us_low, uint32_t *us_high)
{
    const uint64_t cycles = uptime_cycles();
    const uint32_t per_ms = clock_hz() / 1000u;
    const uint64_t us = cycles / per_ms * 1000u + cycles % per_ms * 1000u / per_ms;

    *us_low = (uint32_t)us;
    *us_high = (uint32_t)(us >> 32);
}
#endif

void counter_start(void)
{
    SYST_RVR = COUNTER_MASK;
    SYST_CVR = 0;
    SYST_CSR = SYST_CSR_ENABLE | SYST_CSR_TICKINT | SYST_CSR_CLKSOURCE;
}

void counter_set_costs(uint32_t empty_window, uint32_t wrap)
{
    window_cost = empty_window;
    wrap_cost = wrap;
}
