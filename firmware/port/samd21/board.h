/* board.h -- how the UART is wired and where the clock comes from.
 *
 * hil.firmware gives these macros from a hil.chips.Board:
 *
 *   BOARD_SERCOM                       which SERCOM, 0 to 5
 *   BOARD_TX_GROUP, BOARD_TX_PIN       port group (0 is PA, 1 is PB) and pin
 *   BOARD_RX_GROUP, BOARD_RX_PIN
 *   BOARD_MUX                          peripheral function of both pins: 2 is C, 3 is D
 *   BOARD_TXPO, BOARD_RXPO             CTRLA.TXPO and CTRLA.RXPO
 *   BOARD_XOSC32K                      1: the DFLL is locked to a 32,768 Hz crystal, if that swings; 0: open loop
 */
#ifndef SAMD21_BOARD_H
#define SAMD21_BOARD_H

#if !defined(BOARD_SERCOM) || !defined(BOARD_TX_GROUP) || !defined(BOARD_TX_PIN) || !defined(BOARD_RX_GROUP) \
    || !defined(BOARD_RX_PIN) || !defined(BOARD_MUX) || !defined(BOARD_TXPO) || !defined(BOARD_RXPO) \
    || !defined(BOARD_XOSC32K)
#error "the board's wiring is missing: compile through hil.firmware"
#endif

#define PASTE_(a, b, c) a##b##c
#define PASTE(a, b, c) PASTE_(a, b, c)

/* The vector of the board's UART. */
#define BOARD_SERCOM_HANDLER PASTE(sercom, BOARD_SERCOM, _handler)

#endif
