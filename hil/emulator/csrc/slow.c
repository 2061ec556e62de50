/* slow.c -- one instruction at a time: near events, for rare instructions, and for watchers. */
#include <string.h>

#include "ops.h"
#include "state.h"

#define OPC(name) case OP_##name:
#define OPC_QUIET(name, compute, result)
#define NEXT goto next

#define JUMP(half_)                          \
    do {                                     \
        r[15] = half_address(half_);         \
        e->fetch_line = NO_LINE;             \
        goto done;                           \
    } while (0)
#define JUMP_TO(address_)                    \
    do {                                     \
        uint32_t address = (address_);       \
        r[15] = address & ~1u;               \
        e->thumb = address & 1;              \
        e->fetch_line = NO_LINE;             \
        goto done;                           \
    } while (0)
#define JUMP_OR_RETURN(address_)                              \
    do {                                                      \
        uint32_t value_ = (address_);                         \
        if (value_ >= 0xF0000000u && e->ipsr != 0) {          \
            e->exc_return = value_;                           \
            e->request = REQUEST_EXCEPTION_RETURN;            \
        }                                                     \
        JUMP_TO(value_);                                      \
    } while (0)
#define TAKEN cost++
#define SKIP (void)0
#define RETURN_ADDRESS(bytes) ((r[15] + (bytes)) | 1)
#define FETCH_SECOND_HALF fetch(e, (r[15] + 2) >> 3)

#define LOAD(destination, address, bytes, type)             \
    do {                                                    \
        uint32_t value_ = bus_read(e, (address), bytes);    \
        if (e->request != REQUEST_NONE) return;             \
        (destination) = (uint32_t)(type)value_;             \
    } while (0)
#define LOAD_LITERAL(destination, at) LOAD(destination, at, 4, uint32_t)
#define LOAD_PC(destination, at) LOAD(destination, at, 4, uint32_t)
#define STORE(source, address, bytes, type)                 \
    do {                                                    \
        bus_write(e, (address), bytes, (type)(source));     \
        if (e->request != REQUEST_NONE) return;             \
    } while (0)
#define LOAD_LIST(list, at) \
    if (!load_list(e, list, at)) return
#define STORE_LIST(list, at) \
    if (!store_list(e, list, at)) return
#define LIST_DONE (void)0

static bool load_list(struct emu *e, uint32_t list, uint32_t at) {
    uint32_t values[16];
    for (uint32_t left = list, i = 0; left; left &= left - 1, i++) {
        values[i] = bus_read(e, at + 4 * i, 4);
        if (e->request != REQUEST_NONE) return false;
    }
    for (uint32_t left = list, i = 0; left; left &= left - 1, i++) e->r[__builtin_ctz(left)] = values[i];
    return true;
}

static bool store_list(struct emu *e, uint32_t list, uint32_t at) {
    for (uint32_t left = list; left; left &= left - 1, at += 4) {
        bus_write(e, at, 4, e->r[__builtin_ctz(left)]);
        if (e->request != REQUEST_NONE) return false;
    }
    return true;
}

static void fetch(struct emu *e, uint32_t line) {
    if (line < RAM_LINE0 && e->tag[line & (CACHE_LINES - 1)] != line) e->cycles += flash_miss(e, line);
}

static bool condition_holds(const struct emu *e, uint32_t condition) {
    bool n = e->nz < 0, z = (uint32_t)e->nz == 0, c = e->c, v = (int32_t)e->v < 0, holds;
    switch (condition >> 1) {
    case 0: holds = z; break;
    case 1: holds = c; break;
    case 2: holds = n; break;
    case 3: holds = v; break;
    case 4: holds = c && !z; break;
    case 5: holds = n == v; break;
    case 6: holds = !z && n == v; break;
    default: return true;
    }
    return holds != (condition & 1);
}

static void request(struct emu *e, uint32_t what) {
    e->request = what;
    e->attention = 1;
}

/* Carry out the instruction at r[15], which is decoded and fetched. */
static void step(struct emu *e, uint32_t slot) {
    uint32_t *const r = e->r;
    const struct op *op = &e->ops[slot];
    uint32_t cost = decode_cost(e, slot);
    uint32_t length = 2;
/* The flags live in the chip's state here, in locals in the fast loop. */
#define nz e->nz
#define c e->c
#define v e->v
    switch (e->kind[slot]) {
#include "exec.inc"
    case OP_B_FAR:
        if (condition_holds(e, op->a)) {
            cost++;
            JUMP_TO(op->imm | 1);
        }
        NEXT;
    case OP_BL_FAR:
        r[14] = RETURN_ADDRESS(4);
        if (op->b) FETCH_SECOND_HALF;
        JUMP_TO(op->imm | 1);
    case OP_B_SELF:
        request(e, REQUEST_SPIN);
        JUMP_TO(op->imm | 1);
    case OP_CPS:
        e->primask = op->imm;
        e->attention = 1;
        NEXT;
    case OP_MRS:
        if (op->b) FETCH_SECOND_HALF;
        if (op->a < 13) RA = special_read(e, op->imm);
        length = 4;
        NEXT;
    case OP_MSR:
        if (op->b) FETCH_SECOND_HALF;
        special_write(e, op->imm, RA);
        length = 4;
        NEXT;
    case OP_BARRIER:
        if (op->b) FETCH_SECOND_HALF;
        length = 4;
        NEXT;
    case OP_WFI: request(e, REQUEST_WFI); NEXT;
    case OP_WFE: request(e, REQUEST_WFE); NEXT;
    case OP_SEV: e->event_register = true; NEXT;
    case OP_SVC: request(e, REQUEST_SVC); NEXT;
    case OP_BKPT: request(e, REQUEST_BKPT); return;
    default: core_fault(e, EMU_FAULT_UNDEFINED, r[15]); return;
    }
#undef nz
#undef c
#undef v
next:
    r[15] += length;
done:
    e->cycles += cost;
    e->instructions++;
}

void slow_run(struct emu *e, uint64_t until) {
    do {
        uint32_t half = address_half(e, e->r[15]);
        if (!e->thumb) {
            core_fault(e, EMU_FAULT_THUMB_BIT, e->r[15]);
            return;
        }
        if (half == ~0u) {
            core_fault(e, e->r[15] >= 0x40000000 ? EMU_FAULT_EXECUTE_NEVER : EMU_FAULT_UNMAPPED, e->r[15]);
            return;
        }
        uint32_t line = half >> 2, slot = half + line + 1;
        if (line != e->fetch_line) {
            fetch(e, line);
            e->fetch_line = line;
        }
        if (e->kind[slot] == OP_UNDECODED) decode_line(e, line);
        uint32_t pc = e->r[15];
        uint64_t done = e->instructions;
        step(e, slot);
        if (UNLIKELY(e->slow) && e->instructions != done) observe_step(e, pc, slot);
    } while (e->cycles < until && !e->attention && e->request == REQUEST_NONE);
}
