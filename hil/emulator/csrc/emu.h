/* emu.h -- the emulated SAMD21: what Python sees (cffi reads this file, so plain declarations only).
 *
 * One struct emu is one chip. Calls on one chip must not overlap; different chips are independent.
 */
#ifndef EMU_H
#define EMU_H

#include <stdint.h>

struct emu;

/* Why emu_run returned. */
enum emu_stop {
    EMU_BUDGET = 0,  /* the cycles asked for have passed */
    EMU_IDLE = 1,    /* asleep, nothing under way but free-running timers: wants host input */
    EMU_BKPT = 2,    /* stands on a BKPT instruction */
    EMU_LOCKUP = 3,  /* fault while handling a fault */
    EMU_RESET = 4,   /* the chip has reset itself (AIRCR, watchdog) and stands at its first instruction */
    EMU_WATCH = 5,   /* a watchpoint was hit */
    EMU_HUNG = 6,    /* a branch to itself that nothing under way can interrupt */
    EMU_HALT = 7,    /* stands on a breakpoint */
    EMU_CATCH = 8    /* stands on the first instruction of the HardFault handler, as asked for */
};

/* Bits of emu_run's flags. */
enum emu_flag {
    EMU_STOP_WHEN_IDLE = 1 /* return EMU_IDLE (EMU_HUNG) instead of letting timers run on */
};

/* An access to a register that is not modelled, logged once per address and direction. */
struct emu_unmodelled {
    uint32_t address;
    uint32_t is_write;
    uint32_t pc;
    uint32_t count;
};

/* What a fault was, kept for the crash report. */
struct emu_fault {
    uint32_t kind;    /* enum emu_fault_kind; 0: none since reset */
    uint32_t address; /* of the access, or of the instruction */
    uint32_t pc;      /* of the instruction */
    uint32_t sp;      /* before stacking */
    uint32_t count;   /* faults since reset */
    uint32_t registers[17]; /* r0..r15, xPSR at the fault */
};

enum emu_fault_kind {
    EMU_FAULT_NONE = 0,
    EMU_FAULT_UNALIGNED = 1,
    EMU_FAULT_UNMAPPED = 2,
    EMU_FAULT_UNDEFINED = 3,
    EMU_FAULT_EXECUTE_NEVER = 4,
    EMU_FAULT_THUMB_BIT = 5,
    EMU_FAULT_UNCLOCKED = 6,
    EMU_FAULT_SVC_PRIORITY = 7,
    EMU_FAULT_BKPT = 8,
    EMU_FAULT_WRITE_FLASH = 9,
    EMU_FAULT_WAIT_STATES = 10,
    EMU_FAULT_EXCEPTION_RETURN = 11,
    EMU_FAULT_PROTECTED = 12
};

/* A new chip after power-on reset, flash erased; NULL: out of memory or impossible sizes. */
struct emu *emu_new(uint32_t flash_bytes, uint32_t ram_bytes, uint32_t device_id, const uint32_t *serial4,
                    uint32_t sercoms, uint32_t timers);
void emu_free(struct emu *e);

/* Reset with PM.RCAUSE = cause (0x01 power-on, 0x10 pin); memory stays as it is. */
void emu_reset(struct emu *e, uint32_t cause);

/* Fill RAM with what power-on leaves there. */
void emu_forget_ram(struct emu *e);

/* Run until the cycle count has grown by `cycles` or something else of enum emu_stop happens. */
int emu_run(struct emu *e, uint64_t cycles, uint32_t flags);

/* Debugger's view of memory, without side effects or cost: flash, user row, RAM.
 * Returns the number of bytes transferred. emu_poke programs flash directly. */
uint32_t emu_peek(struct emu *e, uint32_t address, uint8_t *data, uint32_t n);
uint32_t emu_poke(struct emu *e, uint32_t address, const uint8_t *data, uint32_t n);

/* A bus access as a debug probe makes it (side effects, no cost). Returns 0, or emu_fault_kind. */
int emu_bus_read(struct emu *e, uint32_t address, uint32_t size, uint32_t *value);
int emu_bus_write(struct emu *e, uint32_t address, uint32_t size, uint32_t value);

/* 0..12 r0..r12, 13 SP, 14 LR, 15 PC, 16 xPSR, 17 MSP, 18 PSP, 19 PRIMASK, 20 CONTROL. */
uint32_t emu_get_register(struct emu *e, uint32_t index);
void emu_set_register(struct emu *e, uint32_t index, uint32_t value);

uint64_t emu_cycles(struct emu *e);        /* CPU cycles since reset */
uint64_t emu_instructions(struct emu *e);  /* since reset */
uint64_t emu_time_ps(struct emu *e);       /* virtual time since power-on */
uint64_t emu_cpu_millihertz(struct emu *e);
int emu_asleep(struct emu *e);

/* Host side of a SERCOM's lines. emu_uart_send queues; returns 0, or -1 without such a SERCOM or memory. */
int emu_uart_send(struct emu *e, uint32_t sercom, const uint8_t *data, uint32_t n);
uint32_t emu_uart_receive(struct emu *e, uint32_t sercom, uint8_t *data, uint32_t n);
uint32_t emu_uart_waiting(struct emu *e, uint32_t sercom);  /* bytes for emu_uart_receive */
uint32_t emu_uart_queued(struct emu *e, uint32_t sercom);   /* bytes not delivered yet */
/* Speed the host believes in; beyond 3 % of the chip's, bytes are garbled. 0: not compared. */
void emu_uart_host_baud(struct emu *e, uint32_t sercom, uint32_t baud);
/* Line speed by BAUD and clock in millihertz, 0 while the SERCOM is not an enabled USART. */
uint64_t emu_uart_baud_millihertz(struct emu *e, uint32_t sercom);

uint32_t emu_unmodelled_count(struct emu *e);
int emu_unmodelled_get(struct emu *e, uint32_t index, struct emu_unmodelled *out);
void emu_fault_get(struct emu *e, struct emu_fault *out);    /* the last one */
void emu_fault_before(struct emu *e, struct emu_fault *out); /* the one before it */

/* Drive a pin from outside (0 or 1; anything else lets go), and what level it has. Group 0 is port A. */
void emu_pin_drive(struct emu *e, uint32_t group, uint32_t pin, int level);
int emu_pin_level(struct emu *e, uint32_t group, uint32_t pin);

/* What a microphone hears: 0 at the pins of the ADC, 1 on the I2S line. Read between two samples by virtual time,
 * from its first reading on; then silence, or (stop) no more samples, so that the core comes to rest. Copied.
 * Returns 0, or -1: out of memory. */
int emu_sound(struct emu *e, uint32_t which, const int16_t *samples, uint64_t count, uint32_t rate, int stop);
int emu_sound_over(struct emu *e, uint32_t which);
uint64_t emu_sound_taken(struct emu *e, uint32_t which); /* readings: results of the ADC, words of I2S */
void emu_supply(struct emu *e, uint32_t millivolts);     /* supply voltage, 3300 at first */

/* Profile and trace. Instructions then run one by one. */
enum {
    EMU_FUNCTION_NONE = 0xFFFF,   /* code of no function, and the root of all paths */
    EMU_FUNCTION_ASLEEP = 0xFFFE, /* pseudo functions below the one that runs */
    EMU_FUNCTION_ENTRY = 0xFFFD,
    EMU_FUNCTION_EXIT = 0xFFFC
};
enum { EMU_TRACE_INSTRUCTION = 0, EMU_TRACE_ENTRY = 1, EMU_TRACE_RETURN = 2, EMU_TRACE_ASLEEP = 3 };
struct emu_trace_record {
    uint64_t cycle; /* after it */
    uint32_t kind;
    uint32_t pc;    /* of the instruction; exception number for an entry, EXC_RETURN for a return */
    uint32_t xpsr;
    uint32_t pad;
    uint32_t registers[16]; /* after it */
};
/* Begin: function_of_half holds a number for every halfword of emu_observe_halves. -1: out of memory. */
int emu_observe(struct emu *e, const uint16_t *function_of_half, uint32_t trace_records);
void emu_observe_end(struct emu *e);
uint32_t emu_observe_halves(void);
uint32_t emu_half_address(uint32_t half);
/* Cycles and executions of the instruction at each halfword. */
void emu_observed(struct emu *e, uint64_t *cycles, uint64_t *counts);
uint32_t emu_observed_paths(struct emu *e);
uint64_t emu_observed_path(struct emu *e, uint32_t path, uint32_t *parent, uint32_t *function); /* own cycles */
uint32_t emu_trace_take(struct emu *e, struct emu_trace_record *out, uint32_t n);

/* On: bytes of the host follow each other at the line's rate whatever the firmware does, as on a wire;
 * off (the default): they arrive only while it waits for them. */
void emu_uart_line_rate(struct emu *e, int on);

/* With a debugger a BKPT stops emu_run, without one it is a HardFault. */
void emu_set_debugger(struct emu *e, int attached);

/* What the debug unit stops at. Registers as in the Armv6-M ARM, C1.8 and C1.9. */
enum { EMU_BREAKPOINTS = 4, EMU_WATCHPOINTS = 2 };
struct emu_debug {
    uint32_t enabled;         /* C_DEBUGEN: without it nothing below has an effect and BKPT is a fault */
    uint32_t mask_interrupts; /* C_MASKINTS */
    uint32_t catch_fault;     /* VC_HARDERR */
    uint32_t breakpoints[4];  /* BP_COMPn; 0 while BP_CTRL.ENABLE is clear */
    uint32_t watch_address[2];
    uint32_t watch_mask[2];
    uint32_t watch_function[2];
};
void emu_debug_set(struct emu *e, const struct emu_debug *setup);

/* As emu_run, and stops at break- and watchpoints; cycles 1 is one instruction or exception entry. */
int emu_debug_run(struct emu *e, uint64_t cycles, uint32_t flags);
uint32_t emu_debug_matched(struct emu *e); /* watchpoints hit in the last run, bit n for the n-th */

/* Let time pass for the flash while the core is halted and an erase or write is under way. */
void emu_debug_wait(struct emu *e, uint64_t cycles);

int emu_locked_up(struct emu *e);
int emu_protected(struct emu *e); /* the security bit is in force */

/* What the DSU's chip erase does: flash and RAM are lost, and with the next reset the security bit. */
void emu_chip_erase(struct emu *e);

/* Power goes and comes back; an erase or write under way is left half done. */
void emu_power_loss(struct emu *e);

#endif
