/* port.c -- port.h for a process: the line is its standard input and output.
 *
 * Lets the whole application run under sanitizers and be fed with anything. Cycles are
 * nanoseconds of the host's clock, worth nothing but their being there (tier `host`). The
 * process ends when its input does, and at a reset: whoever started it starts it again. */
#define _POSIX_C_SOURCE 200809L

#include "port/port.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "frontend/offset.h"
#include "link/link_schema.h"

#define CLOCK_HZ 1000000000u
#define RX_BYTES 4096u
#define RESET_BAUD 115200u
#define LARGEST_BAUD 3000000u

static uint8_t rx[RX_BYTES];
static size_t rx_used, rx_taken;
static uint32_t baud;
static uint64_t started_ns, opened_ns;

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void port_init(void)
{
    started_ns = now_ns();
    baud = RESET_BAUD;
}

int port_read(void)
{
    return rx_taken < rx_used ? rx[rx_taken++] : -1;
}

void port_idle(void)
{
    if (rx_taken < rx_used) {
        return;
    }
    const ssize_t n = read(STDIN_FILENO, rx, sizeof rx);
    if (n == 0 || (n < 0 && errno != EINTR)) {
        exit(0);
    }
    rx_taken = 0;
    rx_used = n > 0 ? (size_t)n : 0;
}

void port_write(const uint8_t *bytes, size_t n)
{
    while (n > 0) {
        const ssize_t written = write(STDOUT_FILENO, bytes, n);

        if (written < 0 && errno != EINTR) {
            exit(0); /* nobody listens any more */
        }
        if (written > 0) {
            bytes += written;
            n -= (size_t)written;
        }
    }
}

void port_write_polled(const uint8_t *bytes, size_t n)
{
    port_write(bytes, n);
}

void port_drain(void)
{
}

bool port_baud_possible(uint32_t wanted)
{
    return wanted >= 1 && wanted <= LARGEST_BAUD;
}

void port_set_baud(uint32_t wanted)
{
    baud = wanted;
}

void port_window_open(void)
{
    opened_ns = now_ns();
}

uint32_t port_window_close(uint16_t *interrupts)
{
    *interrupts = 0;
    return (uint32_t)(now_ns() - opened_ns);
}

uint32_t port_window_overhead(void)
{
    return 0;
}

uint32_t port_overruns(void)
{
    return 0;
}

uint32_t port_uptime_ms(void)
{
    return (uint32_t)((now_ns() - started_ns) / 1000000u);
}

uint32_t port_uptime_us(void)
{
    return (uint32_t)((now_ns() - started_ns) / 1000u);
}

/* The stack is the operating system's: not measured. */
uint32_t port_stack_used(void)
{
    return 0;
}

uint32_t port_stack_size(void)
{
    return 0;
}

void port_identify(struct port_identity *identity)
{
    *identity = (struct port_identity){.clock_hz = CLOCK_HZ, .baud = baud};
}


#if defined(MICROPHONE_KIND)
/* The microphone hears the file of int16 samples that the environment names. Its time goes on while the program
 * waits and the host has said nothing; behind its end it stands still. */
static FILE *sound;
static int16_t sound_ring[MICROPHONE_RING];
static uint32_t sound_samples;
static struct offset sound_offset;

void port_microphone_start(struct port_microphone *microphone)
{
    const char *name = getenv("HIL_MICROPHONE");

    sound = name != NULL ? fopen(name, "rb") : NULL;
    sound_samples = 0;
    sound_offset = (struct offset){0, false};
    microphone->cycles_q8 = (uint32_t)((uint64_t)CLOCK_HZ * 256u / MICROPHONE_RATE);
    microphone->rate_millihertz = MICROPHONE_RATE * 1000u;
}

void port_microphone_stop(void)
{
    if (sound != NULL) {
        fclose(sound);
        sound = NULL;
    }
}

static bool hear_block(void)
{
    int16_t block[PORT_MICROPHONE_BLOCK];

    if (sound == NULL || fread(block, sizeof block, 1, sound) != 1) {
        return false;
    }
    for (uint32_t i = 0; i < PORT_MICROPHONE_BLOCK; i++) {
        sound_ring[(sound_samples + i) % MICROPHONE_RING] =
            offset_remove(&sound_offset, (int32_t)block[i] * (1 << MICROPHONE_GAIN_LOG2));
    }
    sound_samples += PORT_MICROPHONE_BLOCK;
    return true;
}

void port_microphone_idle(void)
{
    struct pollfd line = {.fd = STDIN_FILENO, .events = POLLIN};

    if (rx_taken < rx_used || poll(&line, 1, 0) == 0) {
        if (rx_taken < rx_used || hear_block()) {
            return;
        }
    }
    port_idle();
}

uint32_t port_microphone_samples(void)
{
    return sound_samples;
}

const int16_t *port_microphone_ring(void)
{
    return sound_ring;
}

uint32_t port_microphone_lost(void)
{
    return 0;
}

uint16_t port_supply_mv(void)
{
    return 0;
}

uint32_t port_cycles(void)
{
    return (uint32_t)now_ns();
}

uint32_t port_cycles_asleep(void)
{
    return 0;
}

uint32_t port_cycles_sampling(void)
{
    return 0;
}

size_t port_write_room(void)
{
    return SIZE_MAX;
}

void port_uptime(uint32_t *us_low, uint32_t *us_high)
{
    const uint64_t us = (now_ns() - started_ns) / 1000u;

    *us_low = (uint32_t)us;
    *us_high = (uint32_t)(us >> 32);
}
#endif

void port_reset(void)
{
    exit(0);
}

void port_crash(uint8_t how)
{
    static const struct port_fault nothing_stacked;

    switch (how) {
    case LINK_CRASH_HARD_FAULT:
        app_fault(&nothing_stacked);
        abort();
    case LINK_CRASH_HANG:
        for (;;) {
            poll(NULL, 0, -1);
        }
    case LINK_CRASH_LOCKUP:
        abort();
    default:
        break;
    }
}
