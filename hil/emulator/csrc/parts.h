/* parts.h -- the interfaces between the parts of the core; included by state.h. */
#ifndef PARTS_H
#define PARTS_H

/* decode.c */
extern const uint8_t op_cost[];
void decode_init(struct emu *e);
void decode_line(struct emu *e, uint32_t line);
void decode_forget(struct emu *e, uint32_t line);
void decode_forget_range(struct emu *e, uint32_t address, uint32_t n);
uint32_t decode_cost(const struct emu *e, uint32_t slot);

/* fast.c, slow.c: run until `until` (fast: at least up to it, in whole lines) or attention. */
void fast_run(struct emu *e, uint64_t limit);
const void *const *fast_handlers(void);
void slow_run(struct emu *e, uint64_t until);

/* debug.c */
void debug_access(struct emu *e, uint32_t address, uint32_t size, bool is_write);

/* core.c */
void core_fault(struct emu *e, uint32_t kind, uint32_t address);
void core_record_fault(struct emu *e);

/* exception.c */
bool exception_preempts(const struct emu *e, uint32_t exception);
bool exception_can_enter(const struct emu *e);
bool exception_would_wake(const struct emu *e);
void exception_enter_pending(struct emu *e);
void exception_return(struct emu *e);
void exception_hardfault(struct emu *e);
uint32_t exception_xpsr(const struct emu *e);
void exception_set_apsr(struct emu *e, uint32_t value);
uint32_t special_read(const struct emu *e, uint32_t which);
void special_write(struct emu *e, uint32_t which, uint32_t value);
void irq_set_level(struct emu *e, uint32_t irq, bool up);

/* bus.c: data accesses. On a fault e->request is REQUEST_FAULT and the value 0.
 * e->cycles is the cycle at which the instruction began; wait states are added to it. */
uint32_t bus_read(struct emu *e, uint32_t address, uint32_t size);
void bus_write(struct emu *e, uint32_t address, uint32_t size, uint32_t value);
void bus_write_ram(struct emu *e, uint32_t offset, uint32_t size, uint32_t value); /* not by the core */
uint32_t flash_miss(struct emu *e, uint32_t line); /* cycles it costs; also called when hits cost */
void flash_timing(struct emu *e);
void bus_log(struct emu *e, uint32_t address, bool is_write);

/* By another master than the core: without cost, faults returned (enum emu_fault_kind). */
uint32_t bus_foreign_read(struct emu *e, uint32_t address, uint32_t size, uint32_t *value);
uint32_t bus_foreign_write(struct emu *e, uint32_t address, uint32_t size, uint32_t value);

/* Peripherals: word offset and byte lanes (bit i: byte i of the word). */
typedef uint32_t (*peripheral_read)(struct emu *e, uint32_t index, uint32_t offset, uint32_t lanes);
typedef void (*peripheral_write)(struct emu *e, uint32_t index, uint32_t offset, uint32_t value, uint32_t lanes);
#define PERIPHERAL(name)                                                                        \
    uint32_t name##_read(struct emu *e, uint32_t index, uint32_t offset, uint32_t lanes);       \
    void name##_write(struct emu *e, uint32_t index, uint32_t offset, uint32_t value, uint32_t lanes)
PERIPHERAL(pm);
PERIPHERAL(sysctrl);
PERIPHERAL(gclk);
PERIPHERAL(nvmctrl);
PERIPHERAL(port);
PERIPHERAL(dsu);
PERIPHERAL(sercom);
PERIPHERAL(pac);
PERIPHERAL(tc);
PERIPHERAL(rtc);
PERIPHERAL(wdt);
PERIPHERAL(eic);
PERIPHERAL(mtb);
PERIPHERAL(evsys);
PERIPHERAL(dmac);
PERIPHERAL(adc);
PERIPHERAL(i2s);

uint32_t scs_read(struct emu *e, uint32_t address, uint32_t size);
void scs_write(struct emu *e, uint32_t address, uint32_t size, uint32_t value);
void systick_catch_up(struct emu *e);
uint64_t systick_next(const struct emu *e);
void systick_service(struct emu *e);

/* time.c: events and virtual time */
uint64_t time_now_ps(const struct emu *e);
uint64_t time_cycle_of(const struct emu *e, uint64_t ps);
uint64_t time_of_ticks(uint64_t ticks, uint64_t microhertz);   /* ps, rounded down */
uint64_t time_ticks_in(uint64_t ps, uint64_t microhertz);
void event_schedule(struct emu *e, uint32_t source, uint64_t ps);
void event_cancel(struct emu *e, uint32_t source);
void event_update(struct emu *e);
void event_service(struct emu *e);
bool event_only_free_running(const struct emu *e);
bool event_sound_flows(const struct emu *e);

/* Synchronization to a peripheral's clock (0: it does not run, and the register stays busy). */
void sync_begin(struct emu *e, struct sync *s);
bool sync_busy(const struct emu *e, const struct sync *s, uint64_t microhertz);
bool sync_wait(struct emu *e, struct sync *s, uint64_t microhertz, uint32_t address); /* false: the bus hangs */

/* counter.c: ticks of a free-running counter */
uint64_t counter_ticks(const struct emu *e, const struct counter *c, uint64_t microhertz);
uint64_t counter_time_of(const struct counter *c, uint64_t ticks, uint64_t microhertz);
void counter_start(struct emu *e, struct counter *c, uint64_t value);

/* Frequencies change: timers settle with the old ones, then go on with the new ones. */
void tc_settle(struct emu *e);
void tc_resume(struct emu *e);
void tc_event(struct emu *e, uint32_t index);
void tc_reset(struct emu *e, uint32_t index);
void tc_input(struct emu *e, uint32_t index);
void rtc_settle(struct emu *e);
void rtc_resume(struct emu *e);
void rtc_event(struct emu *e);
void wdt_event(struct emu *e, bool early);
void wdt_resume(struct emu *e);
void wdt_reset(struct emu *e);
void eic_update(struct emu *e);
void eic_reset(struct emu *e);
void dsu_reset(struct emu *e);

/* evsys.c, dmac.c, adc.c, i2s.c */
void evsys_event(struct emu *e, uint32_t generator);
void evsys_reset(struct emu *e);
void dmac_trigger(struct emu *e, uint32_t source);
void dmac_service(struct emu *e);
void dmac_clock(struct emu *e);
void dmac_input(struct emu *e, uint32_t channel);
void dmac_reset(struct emu *e);
bool dmac_listens(const struct emu *e, uint32_t source);
bool dma_requested(const struct emu *e, uint32_t source); /* bus.c: by a flag that is up */
void adc_event(struct emu *e);
void adc_input(struct emu *e, bool synchronize);
void adc_reset(struct emu *e);
bool adc_listens(const struct emu *e);
bool adc_ready(const struct emu *e);
void i2s_event(struct emu *e, uint32_t serializer);
void i2s_resume(struct emu *e);
void i2s_reset(struct emu *e);
bool i2s_listens(const struct emu *e);
bool i2s_ready(const struct emu *e, uint32_t serializer);
bool sercom_requests(const struct emu *e, uint32_t index, bool transmit);

/* sound.c: positions count samples, 32 bits behind the point */
uint64_t sound_position_q32(struct sound *s, uint64_t ps);
uint64_t sound_step_q32(const struct sound *s, uint64_t ps);
int32_t sound_at_q8(struct sound *s, uint64_t position_q32);
bool sound_stands_still(const struct sound *s);
void sound_free(struct emu *e);

/* mtb.c: a jump from `from` to `to`; `exception`: by entering or leaving one. */
void mtb_branch(struct emu *e, uint32_t from, uint32_t to, bool exception);
/* A branch to itself at `address` will go round until something happens: the buffer fills with it. */
void mtb_spin(struct emu *e, uint32_t address);
void mtb_reset(struct emu *e);

/* observe.c: called while e->slow */
void observe_step(struct emu *e, uint32_t pc, uint32_t slot);
void observe_entry(struct emu *e, uint32_t from, uint32_t exception);
void observe_return(struct emu *e, uint32_t exc_return, bool complete);
void observe_sleep(struct emu *e);
void observe_reset(struct emu *e);
void observe_update(struct emu *e);
bool mtb_enabled(const struct emu *e);

/* clock.c, nvm.c, sercom.c */
void clock_reset(struct emu *e);
void clock_update(struct emu *e);
void clock_event(struct emu *e);
uint64_t gclk_channel_microhertz(const struct emu *e, uint32_t channel);
void nvm_reset(struct emu *e);
void nvm_power_on(struct emu *e);
void nvm_event(struct emu *e);
uint32_t nvm_busy_cycles(const struct emu *e);
const uint8_t *nvm_aux(const struct emu *e, uint32_t address, uint32_t size);
void nvm_load_page(struct emu *e, uint32_t address, uint32_t size, uint32_t value);
void sercom_reset(struct emu *e, uint32_t index);
void sercom_tx_event(struct emu *e, uint32_t index);
void sercom_rx_event(struct emu *e, uint32_t index);
bool sercom_transmitting(const struct emu *e);
bool sercom_offer(struct emu *e);
uint64_t sercom_polling_ps(const struct emu *e);
void port_reset(struct emu *e);
bool port_level(const struct emu *e, uint32_t group, uint32_t pin);

/* fifo.c */
bool fifo_push(struct fifo *f, uint8_t byte);
int fifo_pop(struct fifo *f);
void fifo_free(struct fifo *f);

#endif
