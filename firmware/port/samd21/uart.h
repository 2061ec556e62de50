/* uart.h -- the board's UART: both directions through ring buffers and interrupts. */
#ifndef SAMD21_UART_H
#define SAMD21_UART_H

#include <stdbool.h>
#include <stdint.h>

#define UART_RESET_BAUD 115200u

/* Pins, clock, interrupt; 8N1 at UART_RESET_BAUD. Needs the CPU clock. */
void uart_init(void);

/* Whether uart_init has been done, so that a fault can be told. */
bool uart_ready(void);

/* Whether a received byte waits. */
bool uart_has_byte(void);

uint32_t uart_baud(void);

#endif
