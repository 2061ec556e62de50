/* decode.c -- halfwords to struct op, one line of eight bytes at a time. */
#include <string.h>

#include "ops.h"
#include "state.h"

#define OP_COST(name, cost, reads, writes) [OP_##name] = (cost),
#define OP_READS(name, cost, reads, writes) [OP_##name] = (reads),
#define OP_WRITES(name, cost, reads, writes) [OP_##name] = (writes),
#define OP_ENDS(name, cost, reads, writes) [OP_##name] = true,
const uint8_t op_cost[OP_KINDS] = {OPS_ALL(OP_COST)};
static const uint8_t op_reads[OP_KINDS] = {OPS_ALL(OP_READS)};
static const uint8_t op_writes[OP_KINDS] = {OPS_ALL(OP_WRITES)};
static const bool op_ends[OP_KINDS] = {OPS_BRANCH(OP_ENDS) OPS_RARE(OP_ENDS)};

struct decoded {
    uint8_t kind, a, b;
    uint32_t imm;
};

static struct decoded make(uint8_t kind, uint32_t a, uint32_t b, uint32_t imm) {
    return (struct decoded){kind, (uint8_t)a, (uint8_t)b, imm};
}

static uint32_t sign_extend(uint32_t value, unsigned bits) {
    uint32_t sign = 1u << (bits - 1);
    return (value ^ sign) - sign;
}

static struct decoded decode_shift_add(uint32_t w) {
    uint32_t d = w & 7, n = w >> 3 & 7, imm5 = w >> 6 & 31, m = w >> 6 & 7;
    switch (w >> 11 & 3) {
    case 0: return imm5 ? make(OP_LSL_IMM, d, n, imm5) : make(OP_MOVS_REG, d, n, 0);
    case 1: return make(OP_LSR_IMM, d, n, imm5 ? imm5 : 32);
    case 2: return make(OP_ASR_IMM, d, n, imm5 ? imm5 : 32);
    default: break;
    }
    static const uint8_t kinds[] = {OP_ADD_REG, OP_SUB_REG, OP_ADD_IMM, OP_SUB_IMM};
    return make(kinds[w >> 9 & 3], d, n, m);
}

static struct decoded decode_immediate(uint32_t w) {
    static const uint8_t kinds[] = {OP_MOV_IMM, OP_CMP_IMM, OP_ADD_IMM, OP_SUB_IMM};
    uint32_t d = w >> 8 & 7;
    return make(kinds[w >> 11 & 3], d, d, w & 0xFF);
}

static struct decoded decode_data_processing(uint32_t w) {
    static const uint8_t kinds[] = {OP_AND, OP_EOR, OP_LSL_REG, OP_LSR_REG, OP_ASR_REG, OP_ADC, OP_SBC, OP_ROR_REG,
                                    OP_TST, OP_RSB, OP_CMP_REG, OP_CMN, OP_ORR, OP_MUL, OP_BIC, OP_MVN};
    return make(kinds[w >> 6 & 15], w & 7, w >> 3 & 7, 0);
}

/* ADD, CMP, MOV with high registers, BX, BLX. PC reads as the instruction's address + 4. */
static struct decoded decode_high(uint32_t w, uint32_t pc) {
    uint32_t d = (w & 7) | (w >> 4 & 8), m = w >> 3 & 15, value = pc + 4;
    switch (w >> 8 & 3) {
    case 0:
        if (d == 15) return m == 15 ? make(OP_UNDEFINED, 0, 0, 0) : make(OP_ADD_PC, 0, m, value);
        if (m == 15) return d == 13 ? make(OP_SP_ADD, 0, 0, value) : make(OP_ADD_CONST, d, d, value);
        return make(d == 13 ? OP_ADD_TO_SP : OP_ADD_HI, d, m, 0);
    case 1:
        return d == 15 || m == 15 ? make(OP_UNDEFINED, 0, 0, 0) : make(OP_CMP_REG, d, m, 0);
    case 2:
        if (d == 15) return m == 15 ? make(OP_UNDEFINED, 0, 0, 0) : make(OP_MOV_PC, 0, m, 0);
        if (m == 15) return make(OP_MOV_CONST, d, 0, d == 13 ? value & ~3u : value);
        return make(d == 13 ? OP_MOV_SP : OP_MOV_HI, d, m, 0);
    default:
        if ((w & 7) != 0 || m == 15) return make(OP_UNDEFINED, 0, 0, 0);
        return make(w & 0x80 ? OP_BLX : OP_BX, 0, m, 0);
    }
}

static struct decoded decode_literal(const struct emu *e, uint32_t w, uint32_t pc) {
    uint32_t address = ((pc + 4) & ~3u) + ((w & 0xFF) << 2);
    bool in_flash = pc < e->flash_bytes && address + 4 <= e->flash_bytes;
    return make(in_flash ? OP_LDR_LIT : OP_LDR_ABS, w >> 8 & 7, 0, address);
}

static struct decoded decode_load_store(uint32_t w) {
    static const uint8_t by_register[] = {OP_STR_REG, OP_STRH_REG, OP_STRB_REG, OP_LDRSB_REG,
                                          OP_LDR_REG, OP_LDRH_REG, OP_LDRB_REG, OP_LDRSH_REG};
    uint32_t t = w & 7, n = w >> 3 & 7, imm5 = w >> 6 & 31;
    bool load = w >> 11 & 1;
    switch (w >> 12) {
    case 5: return make(by_register[w >> 9 & 7], t, n, w >> 6 & 7);
    case 6: return make(load ? OP_LDR_IMM : OP_STR_IMM, t, n, imm5 << 2);
    case 7: return make(load ? OP_LDRB_IMM : OP_STRB_IMM, t, n, imm5);
    case 8: return make(load ? OP_LDRH_IMM : OP_STRH_IMM, t, n, imm5 << 1);
    default: return make(load ? OP_LDR_IMM : OP_STR_IMM, w >> 8 & 7, 13, (w & 0xFF) << 2);
    }
}

static struct decoded decode_list(uint8_t kind, uint32_t a, uint32_t list) {
    uint32_t count = (uint32_t)__builtin_popcount(list);
    return make(count ? kind : OP_UNDEFINED, a, count, list);
}

static struct decoded decode_hint(uint32_t w) {
    if (w & 15) return make(OP_UNDEFINED, 0, 0, 0); /* IT does not exist in Armv6-M */
    switch (w >> 4 & 15) {
    case 2: return make(OP_WFE, 0, 0, 0);
    case 3: return make(OP_WFI, 0, 0, 0);
    case 4: return make(OP_SEV, 0, 0, 0);
    default: return make(OP_NOP, 0, 0, 0);
    }
}

static struct decoded decode_miscellaneous(uint32_t w) {
    uint32_t d = w & 7, m = w >> 3 & 7;
    switch (w >> 8 & 15) {
    case 0x0: return make(OP_SP_ADD, 0, 0, w & 0x80 ? 0u - ((w & 0x7F) << 2) : (w & 0x7F) << 2);
    case 0x2: {
        static const uint8_t kinds[] = {OP_SXTH, OP_SXTB, OP_UXTH, OP_UXTB};
        return make(kinds[w >> 6 & 3], d, m, 0);
    }
    case 0x4: return decode_list(OP_PUSH, 13, w & 0xFF);
    case 0x5: return decode_list(OP_PUSH, 13, (w & 0xFF) | 1u << 14);
    case 0x6: return (w & 0xFFEF) == 0xB662 ? make(OP_CPS, 0, 0, w >> 4 & 1) : make(OP_UNDEFINED, 0, 0, 0);
    case 0xA: {
        static const uint8_t kinds[] = {OP_REV, OP_REV16, OP_UNDEFINED, OP_REVSH};
        return make(kinds[w >> 6 & 3], d, m, 0);
    }
    case 0xC: return decode_list(OP_POP, 13, w & 0xFF);
    case 0xD: return make(OP_POP_PC, 13, 1 + (uint32_t)__builtin_popcount(w & 0xFF), w & 0xFF);
    case 0xE: return make(OP_BKPT, 0, 0, w & 0xFF);
    case 0xF: return decode_hint(w);
    default: return make(OP_UNDEFINED, 0, 0, 0);
    }
}

static struct decoded decode_branch(const struct emu *e, uint32_t w, uint32_t pc) {
    uint32_t condition = w >> 8 & 15, target;
    bool always = w >> 12 == 14;
    if (!always && condition == 14) return make(OP_UNDEFINED, 0, 0, 0);
    if (!always && condition == 15) return make(OP_SVC, 0, 0, w & 0xFF);
    target = pc + 4 + (always ? sign_extend((w & 0x7FF) << 1, 12) : sign_extend((w & 0xFF) << 1, 9));
    if (always && target == pc) return make(OP_B_SELF, 0, 0, target);
    uint32_t half = address_half(e, target);
    if (half == ~0u) return make(OP_B_FAR, always ? 14 : condition, 0, target);
    return make(always ? OP_B : (uint8_t)(OP_BEQ + condition), 0, 0, half);
}

/* 32-bit instructions: b is 1 if the second half is in the next line. */
static struct decoded decode_long(const struct emu *e, uint32_t w, uint32_t w2, uint32_t pc) {
    uint32_t straddles = (pc & 7) == 6;
    if ((w & 0xF800) != 0xF000 || (w2 & 0x8000) == 0) return make(OP_UNDEFINED, 0, straddles, 0);
    if ((w2 & 0xD000) == 0xD000) {
        uint32_t s = w >> 10 & 1, i1 = !((w2 >> 13 & 1) ^ s), i2 = !((w2 >> 11 & 1) ^ s);
        uint32_t offset = s << 24 | i1 << 23 | i2 << 22 | (w & 0x3FF) << 12 | (w2 & 0x7FF) << 1;
        uint32_t target = pc + 4 + sign_extend(offset, 25), half = address_half(e, target);
        return half == ~0u ? make(OP_BL_FAR, 0, straddles, target) : make(OP_BL, 0, straddles, half);
    }
    if ((w & 0xFFF0) == 0xF380 && (w2 & 0xFF00) == 0x8800) return make(OP_MSR, w & 15, straddles, w2 & 0xFF);
    if (w == 0xF3EF && (w2 & 0xF000) == 0x8000) return make(OP_MRS, w2 >> 8 & 15, straddles, w2 & 0xFF);
    if (w == 0xF3BF && (w2 & 0xFF00) == 0x8F00 && (w2 >> 4 & 15) >= 4 && (w2 >> 4 & 15) <= 6) {
        return make(OP_BARRIER, 0, straddles, 0);
    }
    return make(OP_UNDEFINED, 0, straddles, 0);
}

static struct decoded decode(const struct emu *e, uint32_t w, uint32_t w2, uint32_t pc) {
    switch (w >> 12) {
    case 0:
    case 1: return decode_shift_add(w);
    case 2:
    case 3: return decode_immediate(w);
    case 4:
        if (w & 0x800) return decode_literal(e, w, pc);
        return w & 0x400 ? decode_high(w, pc) : decode_data_processing(w);
    case 5:
    case 6:
    case 7:
    case 8:
    case 9: return decode_load_store(w);
    case 10: {
        uint32_t imm = (w & 0xFF) << 2, d = w >> 8 & 7;
        return w & 0x800 ? make(OP_ADD_CONST, d, 13, imm) : make(OP_MOV_CONST, d, 0, ((pc + 4) & ~3u) + imm);
    }
    case 11: return decode_miscellaneous(w);
    case 12: return decode_list(w & 0x800 ? OP_LDM : OP_STM, w >> 8 & 7, w & 0xFF);
    case 13: return decode_branch(e, w, pc);
    default: return (w & 0xF800) == 0xE000 ? decode_branch(e, w, pc) : decode_long(e, w, w2, pc);
    }
}

static bool is_list(uint8_t kind) {
    return kind == OP_LDM || kind == OP_STM || kind == OP_PUSH || kind == OP_POP || kind == OP_POP_PC;
}

static uint8_t cost_of(uint8_t kind, uint8_t b) {
    return (uint8_t)(op_cost[kind] + (is_list(kind) ? b : 0));
}

uint32_t decode_cost(const struct emu *e, uint32_t slot) {
    return cost_of(e->kind[slot], e->ops[slot].b);
}

static uint32_t half_at(const struct emu *e, uint32_t half) {
    const uint8_t *bytes = half < RAM_HALF0 ? e->flash + 2 * half : e->ram + 2 * (half - RAM_HALF0);
    return bytes[0] | (uint32_t)bytes[1] << 8;
}

static void forget_one(struct emu *e, uint32_t line) {
    for (uint32_t slot = line * LINE_SLOTS; slot < (line + 1) * LINE_SLOTS; slot++) {
        e->kind[slot] = OP_UNDECODED;
        e->ops[slot] = (struct op){.handler = fast_handlers()[OP_UNDECODED]};
    }
}

/* Also the line before, whose last instruction can reach into this one. */
void decode_forget(struct emu *e, uint32_t line) {
    forget_one(e, line);
    if (line > 0) forget_one(e, line - 1);
    if (line >= RAM_LINE0) e->is_code[line - RAM_LINE0] = 0;
}

void decode_forget_range(struct emu *e, uint32_t address, uint32_t n) {
    uint32_t half = address_half(e, address);
    if (half == ~0u || n == 0) return;
    uint32_t last = half + (n + (address & 1) - 1) / 2;
    for (uint32_t line = half / 4; line <= last / 4 && line < LINES; line++) decode_forget(e, line);
}

void decode_init(struct emu *e) {
    for (uint32_t line = 0; line < LINES; line++) forget_one(e, line);
}

static bool line_exists(const struct emu *e, uint32_t line) {
    return address_half(e, half_address(line * 4)) == line * 4;
}

/* Handler of a comparison together with the branch behind it, or 0. */
static uint32_t fused(uint8_t kind, uint8_t next) {
    if (next < OP_BEQ || next > OP_BLE) return 0;
    uint32_t condition = (uint32_t)(next - OP_BEQ);
    switch (kind) {
    case OP_CMP_IMM: return HANDLER_CMP_IMM + condition;
    case OP_CMP_REG: return HANDLER_CMP_REG + condition;
    case OP_SUB_IMM: return HANDLER_SUB_IMM + condition;
    default: return 0;
    }
}

/* Flags that are overwritten unread before anything can look at them need not be computed. */
static void choose_handlers(struct emu *e, uint32_t first_slot) {
    uint32_t live = FLAGS;
    for (uint32_t i = 4; i-- > 0;) {
        uint32_t slot = first_slot + i;
        uint8_t kind = e->kind[slot];
        bool quiet = kind <= OP_RSB && (op_writes[kind] & live) == 0;
        uint32_t plain = (uint32_t)kind + (quiet ? HANDLER_QUIET : 0);
        uint32_t handler = i < 3 ? fused(kind, e->kind[slot + 1]) : 0;
        e->ops[slot].handler = fast_handlers()[handler ? handler : plain];
        live = op_reads[kind] & FENCE ? FLAGS : (live & ~(uint32_t)op_writes[kind]) | op_reads[kind];
    }
}

static void sum_costs(struct emu *e, uint32_t first_slot) {
    for (uint32_t i = 4; i-- > 0;) {
        uint32_t slot = first_slot + i;
        struct op *op = &e->ops[slot];
        bool ends = i == 3 || op_ends[e->kind[slot]];
        op->rem = (uint8_t)(cost_of(e->kind[slot], op->b) + (ends ? 0 : op[1].rem));
        op->n = (uint8_t)(1 + (ends ? 0 : op[1].n));
    }
}

void decode_line(struct emu *e, uint32_t line) {
    uint32_t enter = line * LINE_SLOTS;
    if (!line_exists(e, line)) { /* leave the loop; the fetch faults */
        e->ops[enter].handler = fast_handlers()[OP_UNDEFINED];
        e->kind[enter] = OP_UNDEFINED;
        return;
    }
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t half = line * 4 + i, slot = enter + 1 + i;
        struct decoded d = decode(e, half_at(e, half), half_at(e, half + 1), half_address(half));
        e->kind[slot] = d.kind;
        e->ops[slot].a = d.a;
        e->ops[slot].b = d.b;
        e->ops[slot].imm = d.imm;
    }
    choose_handlers(e, enter + 1);
    sum_costs(e, enter + 1);
    e->kind[enter] = OP_NOP;
    e->ops[enter].handler = fast_handlers()[HANDLER_ENTER];
    e->ops[enter].imm = line;
    if (line >= RAM_LINE0) {
        e->is_code[line - RAM_LINE0] = 1;
        e->is_code[line - RAM_LINE0 + 1] |= 2;
    }
}
