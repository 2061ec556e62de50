/* Vector table and start-up of the test programs; handlers are weak. */
#include <stdint.h>

extern uint32_t data_begin[], data_end[], data_from[], bss_begin[], bss_end[];
int main(void);

void reset_handler(void) {
    uint32_t *from = data_from;
    for (volatile uint32_t *to = data_begin; to < data_end;) *to++ = *from++;
    for (volatile uint32_t *to = bss_begin; to < bss_end;) *to++ = 0;
    main();
    __asm volatile("bkpt #0");
    for (;;) {}
}

void unexpected(void) { __asm volatile("bkpt #1"); for (;;) {} }
#define WEAK(name) void name(void) __attribute__((weak, alias("unexpected")))
WEAK(nmi_handler);
WEAK(hardfault_handler);
WEAK(svc_handler);
WEAK(pendsv_handler);
WEAK(systick_handler);
WEAK(sercom3_handler);
WEAK(tc3_handler);
WEAK(rtc_handler);
WEAK(wdt_handler);
WEAK(eic_handler);
WEAK(nvm_handler);

__attribute__((section(".vectors"), used)) void *const vectors[48] = {
    [0] = (void *)0x20004000,
    [1] = (void *)reset_handler,
    [2] = (void *)nmi_handler,
    [3] = (void *)hardfault_handler,
    [11] = (void *)svc_handler,
    [14] = (void *)pendsv_handler,
    [15] = (void *)systick_handler,
    [16 + 2] = (void *)wdt_handler,
    [16 + 3] = (void *)rtc_handler,
    [16 + 4] = (void *)eic_handler,
    [16 + 5] = (void *)nvm_handler,
    [16 + 12] = (void *)sercom3_handler,
    [16 + 18] = (void *)tc3_handler,
};
