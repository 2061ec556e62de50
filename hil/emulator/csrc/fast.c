/* fast.c -- the loop that runs while nothing can interrupt it.
 *
 * Cycles are counted a line at a time: entering a line (or its middle, by a branch) adds the
 * cycles of everything up to the end of the line or its first branch, op->rem. Inside, the
 * exact count is cycles - op->rem. The caller leaves enough room before the next event that
 * no line has to be interrupted; slow.c does the rest.
 */
#include <string.h>

#include "ops.h"
#include "state.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the core copies memory as the chip does: little-endian hosts only"
#endif

static inline uint32_t rotate_right(uint32_t x, uint32_t n) {
    return n ? x >> n | x << (32 - n) : x;
}

/* log2 of an access's size; a misaligned offset becomes huge when rotated by it. */
#define LOG2(bytes) ((bytes) == 4 ? 2 : (bytes) == 2 ? 1 : 0)
#define INSIDE(offset, bytes, size) (rotate_right(offset, LOG2(bytes)) < (size) >> LOG2(bytes))

static inline uint32_t slot_half(uint32_t slot) {
    return slot - slot / LINE_SLOTS - 1;
}

/* As flash_miss; no erase or write is under way in this loop. */
static inline uint32_t miss(struct emu *e, uint32_t line) {
    if (UNLIKELY(e->cache_off || e->hit_cost != 0)) return flash_miss(e, line);
    e->tag[line & (CACHE_LINES - 1)] = line;
    return e->miss_cost;
}

/* A register list at `at`: pointer to its words in RAM, or NULL. */
static inline uint8_t *list_in_ram(struct emu *e, uint32_t at, uint32_t count) {
    uint32_t offset = at - RAM_BASE;
    return (at & 3) == 0 && offset < e->ram_bytes && offset + 4 * count <= e->ram_bytes ? e->ram + offset : NULL;
}

/* Read a list word by word; false: the loop has to leave. */
static __attribute__((noinline)) bool list_load(struct emu *e, uint32_t list, uint32_t at) {
    uint32_t values[16];
    for (uint32_t left = list, i = 0; left; left &= left - 1, i++) {
        values[i] = bus_read(e, at + 4 * i, 4);
        if (e->request != REQUEST_NONE) return false;
    }
    for (uint32_t left = list, i = 0; left; left &= left - 1, i++) e->r[__builtin_ctz(left)] = values[i];
    return true;
}

static __attribute__((noinline)) bool list_store(struct emu *e, uint32_t list, uint32_t at) {
    for (uint32_t left = list; left; left &= left - 1, at += 4) {
        bus_write(e, at, 4, e->r[__builtin_ctz(left)]);
        if (e->request != REQUEST_NONE) return false;
    }
    return true;
}

static inline bool list_is_data(const struct emu *e, uint32_t at, uint32_t count) {
    for (uint32_t line = (at - RAM_BASE) / LINE_BYTES; line <= (at - RAM_BASE + 4 * count - 1) / LINE_BYTES; line++) {
        if (e->is_code[line]) return false;
    }
    return true;
}

#define OPC(name) do_##name:
#define OPC_QUIET(name, compute, result) \
    quiet_##name : {                     \
        compute;                         \
        RA = (result);                   \
    }                                    \
    NEXT;
#define NEXT         \
    do {             \
        op++;        \
        goto *op->handler; \
    } while (0)

/* Enter the line of `half` in its middle or at its beginning, having branched there. */
#define JUMP(half_)                                                              \
    do {                                                                         \
        uint32_t half = (half_), line = half >> 2;                               \
        op = ops + half + line + 1;                                              \
        if (UNLIKELY(cycles > limit)) goto leave_before;                         \
        if (UNLIKELY(e->tag[line & 7] != line) && line < RAM_LINE0) cycles += miss(e, line); \
        cycles += op->rem;                                                       \
        instructions += op->n;                                                   \
        goto *op->handler;                                                       \
    } while (0)

#define JUMP_TO(address_)                                     \
    do {                                                      \
        uint32_t address = (address_), to = address_half(e, address & ~1u); \
        if (UNLIKELY(!(address & 1) || to == ~0u)) {          \
            target_address = address;                         \
            goto leave_to_address;                            \
        }                                                     \
        JUMP(to);                                             \
    } while (0)

#define JUMP_OR_RETURN(address_)                                      \
    do {                                                              \
        uint32_t value = (address_);                                  \
        if (UNLIKELY(value >= 0xF0000000u) && e->ipsr != 0) {         \
            e->exc_return = value;                                    \
            e->request = REQUEST_EXCEPTION_RETURN;                    \
            target_address = value;                                   \
            goto leave_to_address;                                    \
        }                                                             \
        JUMP_TO(value);                                               \
    } while (0)

#define TAKEN (cycles += 1)
#define SKIP (cycles += op[1].rem, instructions += op[1].n)
#define RETURN_ADDRESS(bytes) ((half_address(slot_half((uint32_t)(op - ops))) + (bytes)) | 1)
#define FETCH_SECOND_HALF                                                          \
    do {                                                                           \
        uint32_t line = (uint32_t)(op - ops) / LINE_SLOTS + 1;                     \
        if (e->tag[line & 7] != line && line < RAM_LINE0) cycles += miss(e, line); \
    } while (0)

/* Calls that may look at or change the clock see the exact cycle. */
#define OUTSIDE(call)                   \
    do {                                \
        e->cycles = cycles - op->rem;   \
        r[15] = half_address(slot_half((uint32_t)(op - ops))); \
        call;                           \
        cycles = e->cycles + op->rem;   \
    } while (0)

#define LOAD_FLASH(destination, at, bytes, type)                                                \
    do {                                                                                        \
        uint32_t line = (at) >> 3;                                                              \
        if (UNLIKELY(e->tag[line & 7] != line)) cycles += miss(e, line);                  \
        type value;                                                                             \
        memcpy(&value, e->flash + (at), bytes);                                                 \
        (destination) = (uint32_t)value;                                                        \
    } while (0)

#define LOAD_LITERAL(destination, at) LOAD_FLASH(destination, at, 4, uint32_t)

/* POP with PC goes on to the register list and leaves at its jump instead. */
#define LEAVE_NOW \
    if (UNLIKELY(e->attention)) goto leave_after
#define LEAVE_AT_JUMP \
    if (UNLIKELY(e->attention)) limit = 0
#define LOAD(destination, address, bytes, type) LOAD_THEN(destination, address, bytes, type, LEAVE_NOW)
#define LOAD_PC(destination, address) LOAD_THEN(destination, address, 4, uint32_t, LEAVE_AT_JUMP)
#define LIST_DONE LEAVE_NOW

#define LOAD_THEN(destination, address_, bytes, type, AFTER_LOAD)      \
    do {                                                               \
        uint32_t at = (address_), offset = at - RAM_BASE;              \
        if (LIKELY(INSIDE(offset, bytes, e->ram_bytes))) {             \
            type value;                                                \
            memcpy(&value, e->ram + offset, bytes);                    \
            (destination) = (uint32_t)value;                           \
        } else if (LIKELY(INSIDE(at, bytes, e->flash_bytes))) {        \
            LOAD_FLASH(destination, at, bytes, type);                  \
        } else {                                                       \
            uint32_t value;                                            \
            OUTSIDE(value = bus_read(e, at, bytes));                   \
            if (UNLIKELY(e->request != REQUEST_NONE)) goto leave_fault; \
            (destination) = (uint32_t)(type)value;                     \
            AFTER_LOAD;                                                \
        }                                                              \
    } while (0)

#define STORE(source, address_, bytes, type)                                      \
    do {                                                                          \
        uint32_t at = (address_), offset = at - RAM_BASE;                         \
        type value = (type)(source);                                              \
        if (LIKELY(INSIDE(offset, bytes, e->ram_bytes)) && LIKELY(!e->is_code[offset >> 3])) { \
            memcpy(e->ram + offset, &value, bytes);                               \
        } else {                                                                  \
            OUTSIDE(bus_write(e, at, bytes, value));                              \
            if (UNLIKELY(e->request != REQUEST_NONE)) goto leave_fault;           \
            if (UNLIKELY(e->attention)) goto leave_after;                         \
        }                                                                         \
    } while (0)

#define LOAD_LIST(list, at)                                                          \
    do {                                                                             \
        uint8_t *from = list_in_ram(e, at, op->b);                                   \
        if (LIKELY(from != NULL)) {                                                  \
            for (uint32_t left = (list); left; left &= left - 1, from += 4) {        \
                memcpy(&r[__builtin_ctz(left)], from, 4);                            \
            }                                                                        \
        } else {                                                                     \
            bool done;                                                               \
            OUTSIDE(done = list_load(e, list, at));                                  \
            if (UNLIKELY(!done)) goto leave_fault;                                   \
        }                                                                            \
    } while (0)

#define STORE_LIST(list, at)                                                         \
    do {                                                                             \
        uint8_t *to = list_in_ram(e, at, op->b);                                     \
        if (LIKELY(to != NULL) && LIKELY(list_is_data(e, at, op->b))) {              \
            for (uint32_t left = (list); left; left &= left - 1, to += 4) {          \
                memcpy(to, &r[__builtin_ctz(left)], 4);                              \
            }                                                                        \
        } else {                                                                     \
            bool done;                                                               \
            OUTSIDE(done = list_store(e, list, at));                                 \
            if (UNLIKELY(!done)) goto leave_fault;                                   \
        }                                                                            \
    } while (0)

#define LABEL(name, cost, reads, writes) [OP_##name] = &&do_##name,
#define QUIET_LABEL(name, cost, reads, writes) [HANDLER_QUIET + OP_##name] = &&quiet_##name,
#define RARE_LABEL(name, cost, reads, writes) [OP_##name] = &&leave_rare,

/* A comparison and the branch behind it. */
#define COMPARE_AND_BRANCH(label, first, second, store, condition) \
    label : {                                                      \
        uint32_t x = (first), y = (second), s = x - y;             \
        SUB_FLAGS(x, y, s);                                        \
        store;                                                     \
        op++;                                                      \
        if (condition) {                                           \
            TAKEN;                                                 \
            JUMP(op->imm);                                         \
        }                                                          \
        SKIP;                                                      \
    }                                                              \
    NEXT;
#define CMP_IMM_BRANCH(name, condition) COMPARE_AND_BRANCH(cmp_imm_##name, RA, op->imm, (void)0, condition)
#define CMP_REG_BRANCH(name, condition) COMPARE_AND_BRANCH(cmp_reg_##name, RA, RB, (void)0, condition)
#define SUB_IMM_BRANCH(name, condition) COMPARE_AND_BRANCH(sub_imm_##name, RB, op->imm, RA = s, condition)
#define CMP_IMM_LABEL(name, condition) [HANDLER_CMP_IMM + OP_##name - OP_BEQ] = &&cmp_imm_##name,
#define CMP_REG_LABEL(name, condition) [HANDLER_CMP_REG + OP_##name - OP_BEQ] = &&cmp_reg_##name,
#define SUB_IMM_LABEL(name, condition) [HANDLER_SUB_IMM + OP_##name - OP_BEQ] = &&sub_imm_##name,

/* A second copy of the function would have other labels. */
#if defined(__clang__)
#define ONE_COPY __attribute__((noinline))
#else
#define ONE_COPY __attribute__((noinline, noclone))
#endif

/* One function, because the handlers jump from one to the next. With e == NULL it only hands
 * out their addresses. */
static ONE_COPY const void *const *loop(struct emu *e, uint64_t limit) {
    static const void *const handlers[HANDLERS] = {
        [OP_UNDECODED] = &&undecoded,
        OPS_FLAGGED(LABEL) OPS_FLAGGED(QUIET_LABEL) OPS_PLAIN(LABEL) OPS_BRANCH(LABEL) OPS_RARE(RARE_LABEL)
        [HANDLER_ENTER] = &&enter_line,
        CONDITIONS(CMP_IMM_LABEL) CONDITIONS(CMP_REG_LABEL) CONDITIONS(SUB_IMM_LABEL)
    };
    if (e == NULL) return handlers;

    uint32_t *const r = e->r;
    struct op *const ops = e->ops;
    uint64_t cycles = e->cycles, instructions = e->instructions;
    int64_t nz = e->nz;
    uint32_t c = e->c, v = e->v, target_address;
    uint32_t start = address_half(e, r[15]);
    struct op *op = ops + start + (start >> 2) + 1;
    if (start >> 2 != e->fetch_line) JUMP(start);
    cycles += op->rem;
    instructions += op->n;
    goto *op->handler;

enter_line: {
    uint32_t line = op->imm;
    op++;
    if (UNLIKELY(cycles > limit)) goto leave_before;
    if (UNLIKELY(e->tag[line & 7] != line) && line < RAM_LINE0) cycles += miss(e, line);
    cycles += op->rem;
    instructions += op->n;
    goto *op->handler;
}
undecoded:
    decode_line(e, (uint32_t)(op - ops) / LINE_SLOTS);
    cycles += op->rem;
    instructions += op->n;
    goto *op->handler;

#include "exec.inc"

CONDITIONS(CMP_IMM_BRANCH)
CONDITIONS(CMP_REG_BRANCH)
CONDITIONS(SUB_IMM_BRANCH)

leave_rare: /* the line has been looked up, the instruction not begun; or the end of memory */
    if ((uint32_t)(op - ops) % LINE_SLOTS == 0) {
        op++;
        goto leave_before;
    }
    e->fetch_line = (uint32_t)(op - ops) / LINE_SLOTS;
    e->cycles = cycles - op->rem;
    e->instructions = instructions - op->n;
    r[15] = half_address(slot_half((uint32_t)(op - ops)));
    e->rare = true;
    goto save;
leave_before: /* the line has not been looked up */
    e->fetch_line = NO_LINE;
    e->cycles = cycles;
    e->instructions = instructions;
    r[15] = half_address(slot_half((uint32_t)(op - ops)));
    goto save;
leave_fault: /* as if the instruction had not begun */
    e->fetch_line = (uint32_t)(op - ops) / LINE_SLOTS;
    e->cycles = cycles - op->rem;
    e->instructions = instructions - op->n;
    r[15] = half_address(slot_half((uint32_t)(op - ops)));
    goto save;
leave_after: { /* the instruction is done; what follows in the line is not */
    uint32_t slot = (uint32_t)(op - ops);
    e->fetch_line = slot / LINE_SLOTS;
    e->cycles = cycles - op->rem + decode_cost(e, slot);
    e->instructions = instructions - op->n + 1;
    r[15] = half_address(slot_half(slot)) + 2;
    goto save;
}
leave_to_address:
    e->fetch_line = NO_LINE;
    e->cycles = cycles;
    e->instructions = instructions;
    r[15] = target_address & ~1u;
    e->thumb = target_address & 1;
save:
    e->nz = nz;
    e->c = c;
    e->v = v;
    return handlers;
}

const void *const *fast_handlers(void) {
    static const void *const *handlers;
    if (handlers == NULL) handlers = loop(NULL, 0);
    return handlers;
}

void fast_run(struct emu *e, uint64_t limit) {
    loop(e, limit);
}
