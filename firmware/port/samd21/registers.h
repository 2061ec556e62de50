/* registers.h -- the registers of the SAMD21 and of its Cortex-M0+ that this port uses.
 *
 * Source  SAM D21 data sheet (Microchip DS40001882) for the peripherals; Armv6-M Architecture
 *         Reference Manual (Arm DDI 0419) for SysTick, NVIC and SCB.
 */
#ifndef SAMD21_REGISTERS_H
#define SAMD21_REGISTERS_H

#include <stdint.h>

#define REG8(address) (*(volatile uint8_t *)(uintptr_t)(address))
#define REG16(address) (*(volatile uint16_t *)(uintptr_t)(address))
#define REG32(address) (*(volatile uint32_t *)(uintptr_t)(address))

/* PM, power manager */
#define PM_APBCMASK REG32(0x40000420u)
#define PM_APBCMASK_SERCOM(n) (1u << (2u + (n)))
#define PM_RCAUSE REG8(0x40000438u)

/* SYSCTRL, oscillators */
#define SYSCTRL_PCLKSR REG32(0x4000080Cu)
#define SYSCTRL_PCLKSR_XOSC32KRDY (1u << 1)
#define SYSCTRL_PCLKSR_DFLLRDY (1u << 4)
#define SYSCTRL_PCLKSR_DFLLLCKF (1u << 6)
#define SYSCTRL_PCLKSR_DFLLLCKC (1u << 7)
#define SYSCTRL_XOSC32K REG16(0x40000814u)
#define SYSCTRL_XOSC32K_ENABLE (1u << 1)
#define SYSCTRL_XOSC32K_XTALEN (1u << 2)
#define SYSCTRL_XOSC32K_EN32K (1u << 3)
#define SYSCTRL_XOSC32K_STARTUP_2S (6u << 8)
#define SYSCTRL_DFLLCTRL REG16(0x40000824u)
#define SYSCTRL_DFLLCTRL_ENABLE (1u << 1)
#define SYSCTRL_DFLLCTRL_MODE (1u << 2) /* closed loop */
#define SYSCTRL_DFLLCTRL_WAITLOCK (1u << 11)
#define SYSCTRL_DFLLVAL REG32(0x40000828u)
#define SYSCTRL_DFLLVAL_COARSE(value) ((uint32_t)(value) << 10)
#define SYSCTRL_DFLLMUL REG32(0x4000082Cu)
#define SYSCTRL_DFLLMUL_FSTEP(value) ((uint32_t)(value) << 16)
#define SYSCTRL_DFLLMUL_CSTEP(value) ((uint32_t)(value) << 26)

/* GCLK, clock generators */
#define GCLK_STATUS REG8(0x40000C01u)
#define GCLK_STATUS_SYNCBUSY 0x80u
#define GCLK_CLKCTRL REG16(0x40000C02u)
#define GCLK_CLKCTRL_DFLL48 0x00u
#define GCLK_CLKCTRL_SERCOM_CORE(n) (0x14u + (n))
#define GCLK_CLKCTRL_GEN(n) ((n) << 8)
#define GCLK_CLKCTRL_CLKEN (1u << 14)
#define GCLK_GENCTRL REG32(0x40000C04u)
#define GCLK_GENCTRL_SRC_XOSC32K (5u << 8)
#define GCLK_GENCTRL_SRC_DFLL48M (7u << 8)
#define GCLK_GENCTRL_GENEN (1u << 16)
#define GCLK_GENCTRL_IDC (1u << 17)
#define GCLK_GENDIV REG32(0x40000C08u)
#define GCLK_GENDIV_DIV(value) ((uint32_t)(value) << 8)

/* DSU and the words that tell one chip from another */
#define DSU_DID REG32(0x41002018u)
#define SERIAL_WORD_0 REG32(0x0080A00Cu)
#define SERIAL_WORD_1 REG32(0x0080A040u)
#define SERIAL_WORD_2 REG32(0x0080A044u)
#define SERIAL_WORD_3 REG32(0x0080A048u)

/* NVMCTRL, flash; the software calibration area at 0x806020 */
#define NVMCTRL_CTRLA REG16(0x41004000u)
#define NVMCTRL_CTRLA_INVALL 0xA546u /* command key and command */
#define NVMCTRL_CTRLB REG32(0x41004004u)
#define NVMCTRL_CTRLB_RWS(value) ((uint32_t)(value) << 1)
#define NVMCTRL_CTRLB_MANW (1u << 7)
#define NVMCTRL_INTFLAG REG8(0x41004014u)
#define NVMCTRL_INTFLAG_READY 1u
#define CALIBRATION_WORD_1 REG32(0x00806024u) /* bits 63 to 32 */
#define CALIBRATION_DFLL48M_COARSE(word1) ((word1) >> 26)

/* PORT, group 0 is PA, 1 is PB */
#define PORT_OUTSET(group) REG32(0x41004418u + 0x80u * (group))
#define PORT_PMUX(group, pin) REG8(0x41004430u + 0x80u * (group) + (pin) / 2u)
#define PORT_PINCFG(group, pin) REG8(0x41004440u + 0x80u * (group) + (pin))
#define PORT_PINCFG_PMUXEN 1u
#define PORT_PINCFG_INEN 2u
#define PORT_PINCFG_PULLEN 4u

/* SERCOM as a USART */
#define SERCOM_BASE(n) (0x42000800u + 0x400u * (n))
#define SERCOM_CTRLA(n) REG32(SERCOM_BASE(n))
#define SERCOM_CTRLA_SWRST (1u << 0)
#define SERCOM_CTRLA_ENABLE (1u << 1)
#define SERCOM_CTRLA_MODE_USART_INTERNAL (1u << 2)
#define SERCOM_CTRLA_TXPO(value) ((uint32_t)(value) << 16)
#define SERCOM_CTRLA_RXPO(value) ((uint32_t)(value) << 20)
#define SERCOM_CTRLA_DORD_LSB (1u << 30)
#define SERCOM_CTRLB(n) REG32(SERCOM_BASE(n) + 0x04u)
#define SERCOM_CTRLB_TXEN (1u << 16)
#define SERCOM_CTRLB_RXEN (1u << 17)
#define SERCOM_BAUD(n) REG16(SERCOM_BASE(n) + 0x0Cu)
#define SERCOM_INTENCLR(n) REG8(SERCOM_BASE(n) + 0x14u)
#define SERCOM_INTENSET(n) REG8(SERCOM_BASE(n) + 0x16u)
#define SERCOM_INTFLAG(n) REG8(SERCOM_BASE(n) + 0x18u)
#define SERCOM_INT_DRE 0x01u
#define SERCOM_INT_TXC 0x02u
#define SERCOM_INT_RXC 0x04u
#define SERCOM_STATUS(n) REG16(SERCOM_BASE(n) + 0x1Au)
#define SERCOM_STATUS_BUFOVF 0x04u
#define SERCOM_SYNCBUSY(n) REG32(SERCOM_BASE(n) + 0x1Cu)
#define SERCOM_DATA(n) REG16(SERCOM_BASE(n) + 0x28u)

/* MTB, micro trace buffer (Arm DDI 0486); positions count from the start of RAM */
#define MTB_POSITION REG32(0x41006000u)
#define MTB_MASTER REG32(0x41006004u)
#define MTB_MASTER_ENABLE (1u << 31)
#define MTB_FLOW REG32(0x41006008u)

/* SysTick, NVIC, SCB */
#define SYST_CSR REG32(0xE000E010u)
#define SYST_CSR_ENABLE 1u
#define SYST_CSR_TICKINT 2u
#define SYST_CSR_CLKSOURCE 4u
#define SYST_RVR REG32(0xE000E014u)
#define SYST_CVR REG32(0xE000E018u)
#define NVIC_ISER REG32(0xE000E100u)
#define NVIC_IRQ_SERCOM(n) (9u + (n))
#define SCB_ICSR REG32(0xE000ED04u)
#define SCB_ICSR_PENDSTCLR (1u << 25)
#define SCB_ICSR_PENDSTSET (1u << 26)
#define SCB_AIRCR REG32(0xE000ED0Cu)
#define SCB_AIRCR_SYSRESETREQ 0x05FA0004u /* write key and request */

static inline void interrupts_off(void)
{
    __asm__ volatile("cpsid i" ::: "memory");
}

static inline void interrupts_on(void)
{
    __asm__ volatile("cpsie i" ::: "memory");
}

/* Wait for an interrupt; with interrupts off it wakes up all the same, and is taken once they are on. */
static inline void wait_for_interrupt(void)
{
    __asm__ volatile("dsb\n\twfi" ::: "memory");
}

#endif
