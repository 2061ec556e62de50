/* Throws random flash contents, register accesses, pins and bytes at the core: fuzz SEED ROUNDS.
 * Built with the core's sources and sanitizers; a crash, a hang or undefined behaviour is the finding. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "emu.h"

static uint64_t state;

static uint32_t rnd(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

static void fill(struct emu *e, uint32_t address, uint32_t n) {
    static uint8_t bytes[1 << 18];
    for (uint32_t i = 0; i < n; i++) bytes[i] = (uint8_t)rnd();
    emu_poke(e, address, bytes, n);
}

static void set_vectors(struct emu *e) {
    for (uint32_t i = 0; i < 48; i++) {
        uint32_t vector = i == 0 ? 0x20001000 + (rnd() & 0x3FFC) : (0x200 + rnd() % 0x3000) | 1;
        emu_poke(e, 4 * i, (const uint8_t *)&vector, 4);
    }
}

static uint32_t random_register(void) {
    static const uint32_t blocks[] = {0x40000000, 0x40000400, 0x40000800, 0x40000C00, 0x40001000, 0x40001400,
                                      0x40001800, 0x41000000, 0x41002000, 0x41004000, 0x41004400, 0x41006000,
                                      0x42000000, 0x42000800, 0x42001400, 0x42002C00, 0x42003000, 0x42003400,
                                      0x60000000, 0xE000E000, 0xE000E100, 0xE000ED00, 0x00800000, 0x00804000};
    return blocks[rnd() % (sizeof blocks / sizeof *blocks)] + rnd() % 0x60;
}

/* Accesses that random numbers would hardly ever make: keys, enabled clocks, a running USART or timer. */
static void make_sense(struct emu *e) {
    static const uint16_t commands[] = {0x02, 0x04, 0x05, 0x06, 0x40, 0x41, 0x42, 0x43, 0x44, 0x46};
    uint32_t n = rnd() % 6, s = 0x42000800 + 0x400 * n, t = 0x42002C00 + 0x400 * (rnd() % 5);
    switch (rnd() % 8) {
    case 0: emu_bus_write(e, 0x41004000, 2, 0xA500u | commands[rnd() % 10]); break;
    case 1: emu_bus_write(e, 0x4100401C, 4, rnd() & 0x3FFFF); break;
    case 2:
        emu_bus_write(e, s, 4, 0x40100004);
        emu_bus_write(e, s + 4, 4, 3 << 16);
        emu_bus_write(e, s + 0x0C, 2, rnd());
        emu_bus_write(e, s + 0x16, 1, rnd());
        emu_bus_write(e, s, 4, 0x40100006 | (rnd() & 0xE000));
        break;
    case 3: emu_bus_write(e, s + 0x28, 2, rnd()); break;
    case 4:
        emu_bus_write(e, t, 2, (rnd() & 0x76C) | 2);
        emu_bus_write(e, t + 0x0D, 1, rnd());
        break;
    case 5:
        emu_bus_write(e, 0x40001400, 2, (rnd() & 0xF8C) | 2);
        emu_bus_write(e, 0x40001402, 2, 0xC010);
        emu_bus_write(e, 0x40001407, 1, rnd());
        break;
    case 6: emu_bus_write(e, 0x40001008, 1, 0xA5); break;
    default: emu_bus_write(e, 0x41002000, 1, 4); break;
    }
}

static void observe(struct emu *e) {
    static uint16_t functions[1 << 20];
    static struct emu_trace_record records[64];
    struct emu_debug d = {.enabled = rnd() & 1, .catch_fault = rnd() & 1, .breakpoints = {rnd() & ~2u},
                          .watch_address = {0x20000000 + (rnd() & 0x7FFC)}, .watch_mask = {rnd() % 8},
                          .watch_function = {rnd() % 8}};
    for (uint32_t i = 0; i < emu_observe_halves(); i++) functions[i] = (uint16_t)(i / 64);
    if (rnd() & 1) emu_observe(e, functions, rnd() % 64);
    emu_debug_set(e, &d);
    emu_debug_run(e, rnd() % 500, rnd() & 1);
    emu_trace_take(e, records, 64);
    if (rnd() & 1) emu_observe_end(e);
}

static void disturb(struct emu *e) {
    uint8_t byte = (uint8_t)rnd();
    uint32_t value, size = 1u << rnd() % 3;
    if (rnd() % 2) make_sense(e);
    if (rnd() % 300 == 0) observe(e);
    switch (rnd() % 8) {
    case 0: emu_uart_send(e, rnd() % 7, &byte, 1); break;
    case 1: emu_pin_drive(e, rnd() % 3, rnd() % 33, (int)(rnd() % 3)); break;
    case 2: emu_bus_read(e, random_register() & ~(size - 1), size, &value); break;
    case 3: emu_uart_host_baud(e, 3, rnd() % 3 * 57600); break;
    case 4: emu_set_register(e, rnd() % 21, rnd()); break;
    case 5: emu_uart_receive(e, rnd() % 6, &byte, 1); break;
    default: emu_bus_write(e, random_register() & ~(size - 1), size, rnd() & rnd()); break;
    }
}

static void one(struct emu *e) {
    uint32_t mode = rnd() % 3;
    emu_reset(e, 0x01);
    if (mode != 2) fill(e, 0, 0x4000);
    if (mode != 0) set_vectors(e);
    fill(e, 0x20000000, 0x8000);
    emu_reset(e, 0x10);
    for (uint32_t pm = 0; pm < 3 && mode != 0; pm++) emu_bus_write(e, 0x40000418 + 4 * pm, 4, ~0u);
    for (uint32_t channel = 0; channel < 0x25 && mode != 0; channel++) {
        emu_bus_write(e, 0x40000C02, 2, 1u << 14 | (rnd() % 4) << 8 | channel);
    }
    for (uint32_t i = 0; i < 60; i++) {
        if (mode != 0) disturb(e);
        int stop = emu_run(e, 1 + rnd() % 3000, rnd() & 1);
        if (stop == EMU_LOCKUP || stop == EMU_BKPT) emu_set_register(e, 15, rnd() % 0x4000);
        if (stop == EMU_LOCKUP && rnd() % 4 == 0) emu_reset(e, 0x10);
    }
}

int main(int argc, char **argv) {
    static const uint32_t serial[4] = {1, 2, 3, 4};
    state = argc > 1 ? strtoull(argv[1], NULL, 0) * 0x9E3779B97F4A7C15u + 1 : 1;
    uint32_t rounds = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : 100;
    struct emu *e = emu_new(256 << 10, 32 << 10, 0x10010300, serial, 6, 5);
    uint64_t instructions = 0;
    for (uint32_t i = 0; i < rounds; i++) {
        one(e);
        instructions += emu_instructions(e);
    }
    printf("%llu instructions\n", (unsigned long long)instructions);
    emu_free(e);
    return 0;
}
