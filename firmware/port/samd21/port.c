#include "port/port.h"

#include "clock.h"
#include "counter.h"
#include "registers.h"
#include "stack.h"
#include "trace.h"
#include "uart.h"

void port_init(void)
{
    trace_init();
    clock_init();
    uart_init();
    counter_start();
    counter_calibrate();
}

void port_idle(void)
{
    interrupts_off();
    if (!uart_has_byte()) {
        wait_for_interrupt();
    }
    interrupts_on();
}

uint32_t port_stack_size(void)
{
    return (uint32_t)(link_stack_top - link_stack_bottom) * sizeof(uint32_t);
}

uint32_t port_stack_used(void)
{
    const volatile uint32_t *word = link_stack_bottom;

    while (word < link_stack_top && *word == STACK_PAINT) {
        word++;
    }
    return (uint32_t)(link_stack_top - word) * sizeof(uint32_t);
}

void port_identify(struct port_identity *identity)
{
    identity->clock_hz = clock_hz();
    identity->baud = uart_baud();
    identity->device_id = DSU_DID;
    identity->serial[0] = SERIAL_WORD_0;
    identity->serial[1] = SERIAL_WORD_1;
    identity->serial[2] = SERIAL_WORD_2;
    identity->serial[3] = SERIAL_WORD_3;
    identity->nvm_ctrlb = NVMCTRL_CTRLB;
    identity->reset_cause = PM_RCAUSE;
}

void port_reset(void)
{
    __asm__ volatile("dsb" ::: "memory");
    SCB_AIRCR = SCB_AIRCR_SYSRESETREQ;
    for (;;) {
    }
}
