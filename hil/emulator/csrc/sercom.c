/* sercom.c -- SERCOM as a USART (data sheet, chapter 26), and the line to the host.
 *
 * Bytes from the host arrive by virtual time only: when the firmware sleeps, its transmitter is
 * idle and nothing is under way but free-running timers, byte k arrives one byte time after
 * byte k-1, at the earliest now. Until the host has sent it, time stands still.
 */
#include <string.h>

#include "ops.h"
#include "state.h"

enum { CTRLA = 0x00, CTRLB = 0x04, BAUD = 0x0C, INTENCLR = 0x14, INTFLAG = 0x18, SYNCBUSY = 0x1C, ADDR = 0x24,
       DATA = 0x28, DBGCTRL = 0x30 };
enum { A_SWRST = 1, A_ENABLE = 2, A_MODE = 0x1C, A_MODE_USART = 0x04, A_IBON = 1 << 8, A_DORD = 1 << 30 };
enum { B_SBMODE = 1 << 6, B_TXEN = 1 << 16, B_RXEN = 1 << 17 };
enum { F_DRE = 1, F_TXC = 2, F_RXC = 4, F_RXS = 8, F_CTSIC = 16, F_RXBRK = 32, F_ERROR = 0x80 };
enum { SYNC_SWRST = 1, SYNC_ENABLE = 2, SYNC_CTRLB = 4 };
enum { S_PERR = 1, S_FERR = 2, S_BUFOVF = 4, S_COLL = 32 };
enum { CHANNEL_SERCOM0_CORE = 0x14, DATA_BITS = 0x1FF, RX_DEPTH = 2 };

typedef unsigned __int128 u128;

static const uint64_t PS_UHZ = 1000000000000000000u;
static const uint64_t POLLING_AFTER_PS = 1000000000000u;
static const uint32_t DEFAULT_HOST_BAUD = 115200;

static bool is_usart(const struct sercom *s) {
    return (s->control_a & A_ENABLE) && (s->control_a & (A_MODE & ~4)) == 0;
}

/* Line speed in microhertz, by the mode in SAMPR (data sheet, "Clock Generation - Baud-Rate Generator"). */
static uint64_t line_microhertz(const struct emu *e, uint32_t index) {
    const struct sercom *s = &e->sercom[index];
    uint64_t f = gclk_channel_microhertz(e, CHANNEL_SERCOM0_CORE + index);
    uint32_t mode = s->control_a >> 13 & 7, samples = mode < 2 ? 16 : mode < 4 ? 8 : 3;
    if (f == 0 || !is_usart(s) || mode > 4) return 0;
    if (mode == 1 || mode == 3) {
        uint32_t eighths = 8 * (s->baud & 0x1FFFu) + (s->baud >> 13);
        return eighths ? (uint64_t)((u128)f * 8 / (samples * (u128)eighths)) : 0;
    }
    return (uint64_t)((u128)f * (65536 - s->baud) / ((u128)samples * 65536));
}

/* Bits of a frame: start, data, parity, stop. */
static uint32_t frame_bits(const struct sercom *s) {
    static const uint8_t data_bits[8] = {8, 9, 8, 8, 8, 5, 6, 7};
    uint32_t parity = (s->control_a >> 24 & 15) == 1;
    return 1 + data_bits[s->control_b & 7] + parity + (s->control_b & B_SBMODE ? 2 : 1);
}

static uint64_t frame_ps(const struct emu *e, uint32_t index) {
    const struct sercom *s = &e->sercom[index];
    uint64_t line = line_microhertz(e, index);
    if (line == 0) line = (uint64_t)(s->host_baud ? s->host_baud : DEFAULT_HOST_BAUD) * 1000000u;
    return (uint64_t)((u128)frame_bits(s) * PS_UHZ / line);
}

uint64_t emu_uart_baud_millihertz(struct emu *e, uint32_t index) {
    return index < e->sercoms ? line_microhertz(e, index) / 1000 : 0;
}

static uint8_t flags_of(const struct sercom *s) {
    bool transmits = is_usart(s) && (s->control_b & B_TXEN);
    return (uint8_t)(s->flags | (transmits && !s->holding ? F_DRE : 0) | (s->rx_count > 0 ? F_RXC : 0));
}

static void update_irq(struct emu *e, uint32_t index) {
    const struct sercom *s = &e->sercom[index];
    irq_set_level(e, IRQ_SERCOM0 + index, (flags_of(s) & s->interrupts) != 0);
    if (e->dmac.enabled) dmac_service(e);
}

/* A received byte, or room for one to send, as the DMA sees it. */
bool sercom_requests(const struct emu *e, uint32_t index, bool transmit) {
    return index < e->sercoms && (flags_of(&e->sercom[index]) & (transmit ? F_DRE : F_RXC)) != 0;
}

/* A byte as it looks when sender and receiver disagree on the speed by more than a bit over a frame. */
static uint8_t garbled(uint8_t byte) {
    return (uint8_t)(byte << 1 ^ byte >> 3 ^ 0xA5);
}

/* The two ends differ by more than 3 %. */
static bool speeds_differ(const struct emu *e, uint32_t index) {
    uint64_t line = line_microhertz(e, index), host = (uint64_t)e->sercom[index].host_baud * 1000000u;
    return host != 0 && (line * 100 > host * 103 || line * 100 < host * 97);
}

static void begin_frame(struct emu *e, uint32_t index, uint16_t value) {
    struct sercom *s = &e->sercom[index];
    s->shift = value;
    s->shifting = true;
    event_schedule(e, EVENT_SERCOM_TX + index, time_now_ps(e) + frame_ps(e, index));
}

/* The stop bit has ended. */
void sercom_tx_event(struct emu *e, uint32_t index) {
    struct sercom *s = &e->sercom[index];
    uint8_t byte = (uint8_t)s->shift;
    fifo_push(&s->to_host, speeds_differ(e, index) ? garbled(byte) : byte);
    s->shifting = false;
    if (s->holding) {
        s->holding = false;
        begin_frame(e, index, s->hold);
    } else {
        s->flags |= F_TXC;
    }
    update_irq(e, index);
}

static void data_write(struct emu *e, uint32_t index, uint32_t value) {
    struct sercom *s = &e->sercom[index];
    if (!is_usart(s) || !(s->control_b & B_TXEN) || line_microhertz(e, index) == 0) return;
    s->flags &= (uint8_t)~F_TXC;
    if (!s->shifting) {
        begin_frame(e, index, (uint16_t)(value & DATA_BITS));
    } else {
        s->hold = (uint16_t)(value & DATA_BITS);
        s->holding = true;
    }
}

static void overrun(struct sercom *s) {
    s->status |= S_BUFOVF;
    s->flags |= F_ERROR;
}

/* With the line at its rate the next byte follows at once, whatever the firmware does. */
static void follow(struct emu *e, uint32_t index) {
    struct sercom *s = &e->sercom[index];
    if (!e->line_rate || s->arrival_ps != NEVER || s->from_host.count == 0) return;
    uint64_t now = time_now_ps(e), next = s->last_arrival_ps + frame_ps(e, index);
    s->last_arrival_ps = s->arrival_ps = s->arrived && next > now ? next : now + frame_ps(e, index);
    event_schedule(e, EVENT_SERCOM_RX + index, s->arrival_ps);
}

/* A frame has been received. Two fit the buffer and one waits in the shift register; the next
 * one destroys that one. */
void sercom_rx_event(struct emu *e, uint32_t index) {
    struct sercom *s = &e->sercom[index];
    int byte = fifo_pop(&s->from_host);
    s->arrival_ps = NEVER;
    s->arrived = true;
    follow(e, index);
    if (byte < 0 || !is_usart(s) || !(s->control_b & B_RXEN)) return;
    if (speeds_differ(e, index)) {
        byte = garbled((uint8_t)byte);
        s->status |= S_FERR;
        s->flags |= F_ERROR;
    }
    if (s->rx_count < RX_DEPTH) {
        s->rx[s->rx_count++] = (uint16_t)byte;
    } else {
        if (s->rx_waits) overrun(s);
        s->rx_shift = (uint16_t)byte;
        s->rx_waits = true;
    }
    update_irq(e, index);
}

static uint32_t data_read(struct sercom *s) {
    uint32_t value = s->rx[0];
    if (s->rx_count == 0) return value;
    s->rx[0] = s->rx[1];
    s->rx_count--;
    if (s->rx_waits) {
        s->rx[s->rx_count++] = s->rx_shift;
        s->rx_waits = false;
    }
    return value;
}

void sercom_reset(struct emu *e, uint32_t index) {
    struct sercom *s = &e->sercom[index];
    struct fifo to_host = s->to_host, from_host = s->from_host;
    uint64_t arrival = s->arrival_ps, last = s->last_arrival_ps;
    bool arrived = s->arrived;
    uint32_t host_baud = s->host_baud;
    *s = (struct sercom){.to_host = to_host, .from_host = from_host, .arrival_ps = arrival,
                         .last_arrival_ps = last, .arrived = arrived, .host_baud = host_baud};
    event_cancel(e, EVENT_SERCOM_TX + index);
    update_irq(e, index);
}

static void control_a_write(struct emu *e, uint32_t index, uint32_t value) {
    struct sercom *s = &e->sercom[index];
    if (value & A_SWRST) {
        sercom_reset(e, index);
        return;
    }
    if (!(value & A_ENABLE) && (s->control_a & A_ENABLE)) { /* what is under way is lost */
        event_cancel(e, EVENT_SERCOM_TX + index);
        s->shifting = s->holding = s->rx_waits = false;
        s->rx_count = 0;
        s->flags = 0;
    }
    /* While enabled, the rest is enable-protected. */
    uint32_t changeable = s->control_a & A_ENABLE ? A_ENABLE : ~0u;
    s->control_a = (s->control_a & ~changeable) | (value & changeable);
}

static void synchronize(struct emu *e, uint32_t index, uint32_t bits) {
    sync_begin(e, &e->sercom[index].sync);
    e->sercom[index].sync_bits = bits;
}

void sercom_write(struct emu *e, uint32_t index, uint32_t offset, uint32_t value, uint32_t lanes) {
    struct sercom *s = &e->sercom[index];
    uint32_t masked = value & lane_mask(lanes);
    bool enabled = s->control_a & A_ENABLE;
    switch (offset) {
    case CTRLA:
        control_a_write(e, index, merge(s->control_a, value, lanes));
        synchronize(e, index, masked & A_SWRST ? SYNC_SWRST : SYNC_ENABLE);
        break;
    case CTRLB: {
        uint32_t changeable = enabled ? B_TXEN | B_RXEN : ~0u;
        s->control_b = (s->control_b & ~changeable) | (merge(s->control_b, value, lanes) & changeable);
        if (enabled) synchronize(e, index, SYNC_CTRLB);
        break;
    }
    case BAUD:
        if (enabled) break;
        s->baud = (uint16_t)merge(s->baud, value, lanes);
        if (lanes & 4) s->rxpl = (uint8_t)(value >> 16);
        break;
    case INTENCLR:
        s->interrupts &= (uint8_t)~masked;
        s->interrupts |= (uint8_t)(masked >> 16);
        break;
    case INTFLAG:
        s->flags &= (uint8_t)~masked;
        s->status &= (uint16_t)~(masked >> 16);
        break;
    case SYNCBUSY: break;
    case ADDR: s->address = merge(s->address, value, lanes); break;
    case DATA:
        if (lanes & 1) data_write(e, index, value);
        break;
    case DBGCTRL: s->debug = value & 1; break;
    default: bus_log(e, 0x42000800 + 0x400 * index + offset, true); break;
    }
    update_irq(e, index);
}

uint32_t sercom_read(struct emu *e, uint32_t index, uint32_t offset, uint32_t lanes) {
    struct sercom *s = &e->sercom[index];
    uint32_t value;
    switch (offset) {
    case CTRLA: return s->control_a;
    case CTRLB: return s->control_b;
    case BAUD: return s->baud | (uint32_t)s->rxpl << 16;
    case INTENCLR: return s->interrupts | (uint32_t)s->interrupts << 16;
    case INTFLAG: return flags_of(s) | (uint32_t)s->status << 16;
    case SYNCBUSY:
        return sync_busy(e, &s->sync, gclk_channel_microhertz(e, CHANNEL_SERCOM0_CORE + index)) ? s->sync_bits : 0;
    case ADDR: return s->address;
    case DATA:
        value = lanes & 1 ? data_read(s) : s->rx[0];
        update_irq(e, index);
        return value;
    case DBGCTRL: return s->debug;
    default: bus_log(e, 0x42000800 + 0x400 * index + offset, false); return 0;
    }
}

/* A frame is on the line or waits for it, or the firmware waits for room to send. */
bool sercom_transmitting(const struct emu *e) {
    for (uint32_t i = 0; i < e->sercoms; i++) {
        const struct sercom *s = &e->sercom[i];
        if (s->shifting || s->holding || (is_usart(s) && (s->interrupts & F_DRE))) return true;
    }
    return false;
}

/* Put the next queued byte of the host on the line. True: one is on its way. */
bool sercom_offer(struct emu *e) {
    bool under_way = false;
    uint64_t now = time_now_ps(e);
    for (uint32_t i = 0; i < e->sercoms; i++) {
        struct sercom *s = &e->sercom[i];
        if (s->arrival_ps == NEVER && s->from_host.count > 0) {
            uint64_t earliest = s->arrived ? s->last_arrival_ps + frame_ps(e, i) : now;
            s->last_arrival_ps = s->arrival_ps = earliest > now ? earliest : now;
            event_schedule(e, EVENT_SERCOM_RX + i, s->arrival_ps);
        }
        under_way |= s->arrival_ps != NEVER;
    }
    return under_way;
}

/* When a byte that waits is delivered although the firmware never sleeps, or NEVER. */
uint64_t sercom_polling_ps(const struct emu *e) {
    for (uint32_t i = 0; i < e->sercoms; i++) {
        const struct sercom *s = &e->sercom[i];
        if (s->from_host.count > 0 && s->arrival_ps == NEVER) return e->last_sleep_ps + POLLING_AFTER_PS;
    }
    return NEVER;
}

int emu_uart_send(struct emu *e, uint32_t index, const uint8_t *data, uint32_t n) {
    if (index >= e->sercoms) return -1;
    for (uint32_t i = 0; i < n; i++) {
        if (!fifo_push(&e->sercom[index].from_host, data[i])) return -1;
    }
    follow(e, index);
    return 0;
}

void emu_uart_line_rate(struct emu *e, int on) {
    e->line_rate = on != 0;
}

uint32_t emu_uart_receive(struct emu *e, uint32_t index, uint8_t *data, uint32_t n) {
    if (index >= e->sercoms) return 0;
    uint32_t got = 0;
    while (got < n && e->sercom[index].to_host.count > 0) data[got++] = (uint8_t)fifo_pop(&e->sercom[index].to_host);
    return got;
}

uint32_t emu_uart_waiting(struct emu *e, uint32_t index) {
    return index < e->sercoms ? e->sercom[index].to_host.count : 0;
}

uint32_t emu_uart_queued(struct emu *e, uint32_t index) {
    return index < e->sercoms ? e->sercom[index].from_host.count : 0;
}

void emu_uart_host_baud(struct emu *e, uint32_t index, uint32_t baud) {
    if (index < e->sercoms) e->sercom[index].host_baud = baud;
}
