/* vectors.c -- the vector table, and what happens to an exception that nobody handles. */
#include <stdint.h>

#include "stack.h"

#define WEAK __attribute__((weak, alias("fault_handler")))

void reset_handler(void);
void systick_handler(void);

/* HardFault, and every exception without a handler of its own: hands the stacked registers to
 * fault_report. Goes on on the same stack if it has room left, else from its top: nothing above
 * is returned to. */
__attribute__((naked, used)) void fault_handler(void)
{
    __asm__ volatile(
        ".syntax unified\n\t"
        "cpsid i\n\t"
        "mov r0, sp\n\t"
        "mov r1, lr\n\t"
        "ldr r2, =link_stack_fault_floor\n\t"
        "cmp r0, r2\n\t"
        "blo 1f\n\t"
        "ldr r2, =link_stack_top\n\t"
        "cmp r0, r2\n\t"
        "bls 2f\n"
        "1:\n\t"
        "ldr r2, =link_stack_top\n\t"
        "mov sp, r2\n"
        "2:\n\t"
        "bl fault_report\n\t"
        ".pool\n");
}

void nmi_handler(void) WEAK;
void svc_handler(void) WEAK;
void pendsv_handler(void) WEAK;
void pm_handler(void) WEAK;
void sysctrl_handler(void) WEAK;
void wdt_handler(void) WEAK;
void rtc_handler(void) WEAK;
void eic_handler(void) WEAK;
void nvmctrl_handler(void) WEAK;
void dmac_handler(void) WEAK;
void usb_handler(void) WEAK;
void evsys_handler(void) WEAK;
void sercom0_handler(void) WEAK;
void sercom1_handler(void) WEAK;
void sercom2_handler(void) WEAK;
void sercom3_handler(void) WEAK;
void sercom4_handler(void) WEAK;
void sercom5_handler(void) WEAK;
void tcc0_handler(void) WEAK;
void tcc1_handler(void) WEAK;
void tcc2_handler(void) WEAK;
void tc3_handler(void) WEAK;
void tc4_handler(void) WEAK;
void tc5_handler(void) WEAK;
void tc6_handler(void) WEAK;
void tc7_handler(void) WEAK;
void adc_handler(void) WEAK;
void ac_handler(void) WEAK;
void dac_handler(void) WEAK;
void ptc_handler(void) WEAK;
void i2s_handler(void) WEAK;

struct vectors {
    uint32_t *stack_top;
    void (*core[15])(void);       /* exceptions 1 to 15 */
    void (*peripheral[28])(void); /* interrupts 0 to 27 */
};

extern const struct vectors vectors;

__attribute__((section(".vectors"), used)) const struct vectors vectors = {
    .stack_top = link_stack_top,
    .core =
        {
            reset_handler, nmi_handler, fault_handler,
            0, 0, 0, 0, 0, 0, 0,
            svc_handler,
            0, 0,
            pendsv_handler, systick_handler,
        },
    .peripheral =
        {
            pm_handler,      sysctrl_handler, wdt_handler,     rtc_handler,     eic_handler,     nvmctrl_handler,
            dmac_handler,    usb_handler,     evsys_handler,   sercom0_handler, sercom1_handler, sercom2_handler,
            sercom3_handler, sercom4_handler, sercom5_handler, tcc0_handler,    tcc1_handler,    tcc2_handler,
            tc3_handler,     tc4_handler,     tc5_handler,     tc6_handler,     tc7_handler,     adc_handler,
            ac_handler,      dac_handler,     ptc_handler,     i2s_handler,
        },
};
