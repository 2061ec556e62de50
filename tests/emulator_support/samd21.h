/* Just enough of the SAMD21 for test programs. */
#ifndef SAMD21_H
#define SAMD21_H
#include <stdint.h>

#define R8(a) (*(volatile uint8_t *)(a))
#define R16(a) (*(volatile uint16_t *)(a))
#define R32(a) (*(volatile uint32_t *)(a))

#define PM_APBCMASK R32(0x40000420)
#define SYSCTRL_PCLKSR R32(0x4000080C)
#define SYSCTRL_XOSC32K R16(0x40000814)
#define SYSCTRL_OSC8M R32(0x40000820)
#define SYSCTRL_DFLLCTRL R16(0x40000824)
#define SYSCTRL_DFLLVAL R32(0x40000828)
#define SYSCTRL_DFLLMUL R32(0x4000082C)
#define GCLK_STATUS R8(0x40000C01)
#define GCLK_CLKCTRL R16(0x40000C02)
#define GCLK_GENCTRL R32(0x40000C04)
#define GCLK_GENDIV R32(0x40000C08)
#define NVMCTRL_CTRLA R16(0x41004000)
#define NVMCTRL_CTRLB R32(0x41004004)
#define SERCOM(n) (0x42000800u + 0x400u * (n))
#define CTRLA 0x00
#define CTRLB 0x04
#define BAUD 0x0C
#define INTENCLR 0x14
#define INTENSET 0x16
#define INTFLAG 0x18
#define STATUS 0x1A
#define SYNCBUSY 0x1C
#define DATA 0x28
#define NVIC_ISER R32(0xE000E100)
#define SYST_CSR R32(0xE000E010)
#define SYST_RVR R32(0xE000E014)
#define SYST_CVR R32(0xE000E018)

/* 48 MHz from the open-loop DFLL with one wait state. */
static inline void clock_48mhz(void) {
    NVMCTRL_CTRLB = 1 << 7 | 1 << 1;
    SYSCTRL_DFLLCTRL = 0;
    while (!(SYSCTRL_PCLKSR & 1 << 4)) {}
    SYSCTRL_DFLLVAL = (R32(0x806024) >> 26) << 10 | 512;
    SYSCTRL_DFLLCTRL = 2;
    while (!(SYSCTRL_PCLKSR & 1 << 4)) {}
    GCLK_GENCTRL = 0 | 7 << 8 | 1 << 16;
    while (GCLK_STATUS & 0x80) {}
}

/* SERCOM n as 8N1 USART on generator 0. */
static inline void usart_start(uint32_t n, uint16_t baud) {
    uint32_t s = SERCOM(n);
    PM_APBCMASK |= 1u << (2 + n);
    GCLK_CLKCTRL = (uint16_t)(0x14 + n) | 1 << 14;
    R32(s + CTRLA) = 1 << 2 | 1 << 20 | 1 << 30;
    R32(s + CTRLB) = 3 << 16;
    R16(s + BAUD) = baud;
    R32(s + CTRLA) |= 2;
    while (R32(s + SYNCBUSY)) {}
}
#endif
