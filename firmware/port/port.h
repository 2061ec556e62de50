/* port.h -- the whole hardware contract. port/samd21/ is the chip, port/host/ a process.
 *
 * No function blocks longer than it says. Not reentrant: called from main() only, but for
 * port_write_polled.
 */
#ifndef PORT_PORT_H
#define PORT_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Clocks, flash wait states, UART at 115,200 baud, cycle counter. Called once, first. */
void port_init(void);

/* Next received byte, or -1. */
int port_read(void);

/* Queue n bytes for sending; waits for room (at most the line time of n bytes). */
void port_write(const uint8_t *bytes, size_t n);

/* Wait until the last queued byte has left the line. */
void port_drain(void);

/* Sleep until an interrupt has happened; returns at once if a byte is waiting. */
void port_idle(void);

/* Whether the clock can make this line speed within 2 %. */
bool port_baud_possible(uint32_t baud);

/* Change the line speed to a possible one, after port_drain. */
void port_set_baud(uint32_t baud);

/* Begin a measured window: TX drained, NVM cache invalidated, counter zeroed. */
void port_window_open(void);

/* End it. Returns its cycles, the overhead of an empty window subtracted;
 * *interrupts: those taken inside, the counter's own overflow not counted. */
uint32_t port_window_close(uint16_t *interrupts);

/* Cycles of an empty window, as measured by port_init. */
uint32_t port_window_overhead(void);

/* Bytes lost in the UART or the ring buffer since reset. */
uint32_t port_overruns(void);

uint32_t port_uptime_ms(void);
uint32_t port_uptime_us(void);   /* modulo 2^32: 71 minutes */
uint32_t port_stack_used(void);  /* high-water mark, bytes */
uint32_t port_stack_size(void);

struct port_identity {
    uint32_t clock_hz;
    uint32_t baud;
    uint32_t device_id;
    uint32_t serial[4];
    uint32_t nvm_ctrlb;
    uint32_t reset_cause;
};
void port_identify(struct port_identity *identity);

/* Reset the chip; does not return. */
void port_reset(void);

/* Fail as `how` says (enum link_crash): fault, loop with interrupts off, or lock the core up.
 * Does not return; any other value does nothing. */
void port_crash(uint8_t how);

/* What the core stacked when it faulted, in the order of the FAULT frame. */
struct port_fault {
    uint32_t stacked[8]; /* r0 r1 r2 r3 r12 lr pc xpsr; all 0 if the stack pointer was no good */
    uint32_t sp;         /* before the exception */
    uint32_t exc_return;
    uint32_t stack_bytes;
};

/* Defined by the application, called by the port once the core has faulted, with interrupts off;
 * afterwards the port waits for a reset. May use port_write_polled only. */
void app_fault(const struct port_fault *fault);

/* Send n bytes and wait until they have left, without interrupts; what was queued is lost. */
void port_write_polled(const uint8_t *bytes, size_t n);

#if defined(MICROPHONE_KIND)
/* A microphone, in a firmware that is built with one (hil.chips.Microphone gives the macros):
 *
 *   MICROPHONE_KIND            enum link_microphone
 *   MICROPHONE_RATE            nominal samples a second
 *   MICROPHONE_RING            samples kept, a power of two
 *   MICROPHONE_GAIN_LOG2       bits that samples are shifted up
 *   MICROPHONE_OVERSAMPLE_LOG2 conversions of the ADC for a sample
 *   MICROPHONE_INPUT, _GROUP, _PIN           of the ADC
 *   MICROPHONE_SCK_..., _FS_..., _SD_...     _GROUP and _PIN of I2S
 *
 * Samples come by DMA, block by block, into a ring that is written to for ever: who reads late loses them. */
#define PORT_MICROPHONE_BLOCK 64u

struct port_microphone {
    uint32_t rate_millihertz; /* by the CPU's clock */
    uint32_t cycles_q8;       /* of the CPU's clock for one sample */
};

/* Begin to sample; counts from 0 again. */
void port_microphone_start(struct port_microphone *microphone);
void port_microphone_stop(void);

/* Samples so far. Sample i is at i % MICROPHONE_RING of the ring; the block after the newest is being written to. */
uint32_t port_microphone_samples(void);
const int16_t *port_microphone_ring(void);

/* Behind the last sample that was overwritten before it could be taken into the ring, 0: none was. */
uint32_t port_microphone_lost(void);

/* Sleep until there is a new block, a received byte, or room to send. */
void port_microphone_idle(void);

/* Supply voltage in millivolts. With an ADC microphone it must be stopped. */
uint16_t port_supply_mv(void);

/* Cycles modulo 2^32, and those that were spent so far asleep, and in taking samples. */
uint32_t port_cycles(void);
uint32_t port_cycles_asleep(void);
uint32_t port_cycles_sampling(void);

/* Bytes that port_write takes without waiting. */
size_t port_write_room(void);

void port_uptime(uint32_t *us_low, uint32_t *us_high);
#endif

#endif
