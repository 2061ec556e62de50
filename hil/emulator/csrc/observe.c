/* observe.c -- who spends the cycles, and a record of every instruction; in the slow loop only. */
#include <stdlib.h>
#include <string.h>

#include "ops.h"
#include "state.h"

enum { STACK_DEPTH = 256, MAX_NODES = 1 << 16, HALVES = LINES * 4, LOOK_BACK = 32 };

/* A call path: the function at its end and the path of its caller. Node 0 is the root. */
struct node {
    uint32_t parent, function, child, sibling;
    uint64_t cycles;
};

struct frame {
    uint32_t node, return_address;
    bool exception;
};

struct observer {
    uint64_t cycles_at[HALVES], count_at[HALVES];
    uint16_t function_of[HALVES];
    struct node nodes[MAX_NODES];
    uint32_t node_count, current;
    struct frame stack[STACK_DEPTH];
    uint32_t depth;
    uint64_t accounted; /* cycle up to which everything has been given to somebody */
    struct emu_trace_record *trace;
    uint32_t trace_size, trace_count;
};

static uint32_t child_of(struct observer *o, uint32_t parent, uint32_t function) {
    uint32_t *link = &o->nodes[parent].child;
    while (*link != 0) {
        if (o->nodes[*link].function == function) return *link;
        link = &o->nodes[*link].sibling;
    }
    if (o->node_count == MAX_NODES) return parent;
    *link = o->node_count;
    o->nodes[o->node_count] = (struct node){.parent = parent, .function = function};
    return o->node_count++;
}

static uint32_t function_at(const struct emu *e, uint32_t address) {
    uint32_t half = address_half(e, address);
    return half == ~0u ? EMU_FUNCTION_NONE : e->observer->function_of[half];
}

static void give(struct emu *e, uint32_t node, uint32_t half) {
    struct observer *o = e->observer;
    uint64_t spent = e->cycles - o->accounted;
    o->accounted = e->cycles;
    o->nodes[node].cycles += spent;
    if (half != ~0u) {
        o->cycles_at[half] += spent;
        o->count_at[half]++;
    }
}

static void push(struct observer *o, uint32_t return_address, bool exception) {
    if (o->depth == STACK_DEPTH) { /* forget the oldest */
        memmove(o->stack, o->stack + 1, sizeof o->stack - sizeof *o->stack);
        o->depth--;
    }
    o->stack[o->depth++] = (struct frame){o->current, return_address, exception};
}

/* A jump to an address that a frame waits for ends that frame and those above, up to an exception. */
static void pop_to(struct observer *o, uint32_t address) {
    for (uint32_t back = 1; back <= o->depth && back <= LOOK_BACK; back++) {
        const struct frame *f = &o->stack[o->depth - back];
        if (f->exception) return;
        if (f->return_address == address) {
            o->current = f->node;
            o->depth -= back;
            return;
        }
    }
}

static void pop_exception(struct observer *o) {
    while (o->depth > 0) {
        const struct frame *f = &o->stack[--o->depth];
        o->current = f->node;
        if (f->exception) return;
    }
}

static void record(struct emu *e, uint32_t kind, uint32_t pc) {
    struct observer *o = e->observer;
    if (o->trace_count == o->trace_size) return;
    struct emu_trace_record *t = &o->trace[o->trace_count++];
    t->cycle = e->cycles;
    t->kind = kind;
    t->pc = pc;
    t->xpsr = exception_xpsr(e);
    memcpy(t->registers, e->r, sizeof e->r);
}

/* After the instruction at `pc`, decoded in `slot`. */
void observe_step(struct emu *e, uint32_t pc, uint32_t slot) {
    struct observer *o = e->observer;
    uint8_t kind = e->kind[slot];
    bool call = kind == OP_BL || kind == OP_BLX || kind == OP_BL_FAR;
    uint32_t length = kind == OP_MRS || kind == OP_MSR || kind == OP_BARRIER ? 4 : 2, to = e->r[15];
    bool jumps = to != pc + length;
    if (jumps) mtb_branch(e, pc, to, false);
    if (o == NULL) return;
    uint32_t function = function_at(e, pc);
    if (o->nodes[o->current].function != function) { /* reached by a jump, not by a call */
        o->current = child_of(o, o->nodes[o->current].parent, function);
    }
    give(e, o->current, address_half(e, pc));
    record(e, EMU_TRACE_INSTRUCTION, pc);
    if (call) {
        push(o, e->r[14] & ~1u, false);
        o->current = child_of(o, o->current, function_at(e, to));
    } else if (jumps && e->request != REQUEST_EXCEPTION_RETURN) {
        pop_to(o, to);
    }
}

void observe_entry(struct emu *e, uint32_t from, uint32_t exception) {
    struct observer *o = e->observer;
    mtb_branch(e, from, e->r[15], true);
    if (o == NULL) return;
    push(o, 0, true);
    o->current = child_of(o, o->current, function_at(e, e->r[15]));
    give(e, child_of(o, o->current, EMU_FUNCTION_ENTRY), ~0u);
    record(e, EMU_TRACE_ENTRY, exception);
}

/* Before a tail-chained entry, and after a complete return. */
void observe_return(struct emu *e, uint32_t exc_return, bool complete) {
    struct observer *o = e->observer;
    if (complete) mtb_branch(e, exc_return, e->r[15], true);
    if (o == NULL) return;
    give(e, child_of(o, o->current, EMU_FUNCTION_EXIT), ~0u);
    pop_exception(o);
    if (complete) record(e, EMU_TRACE_RETURN, exc_return);
}

void observe_sleep(struct emu *e) {
    struct observer *o = e->observer;
    if (o == NULL || e->cycles == o->accounted) return;
    give(e, child_of(o, o->current, EMU_FUNCTION_ASLEEP), ~0u);
    record(e, EMU_TRACE_ASLEEP, e->r[15]);
}

/* The cycle count begins again. */
void observe_reset(struct emu *e) {
    struct observer *o = e->observer;
    if (o == NULL) return;
    o->accounted = 0;
    o->depth = 0;
    o->current = 0;
}

void observe_update(struct emu *e) {
    e->slow = e->observer != NULL || mtb_enabled(e);
    e->attention = 1;
}

int emu_observe(struct emu *e, const uint16_t *function_of_half, uint32_t trace_records) {
    emu_observe_end(e);
    struct observer *o = calloc(1, sizeof *o);
    if (o == NULL) return -1;
    o->trace = calloc(trace_records + 1, sizeof *o->trace);
    if (o->trace == NULL) {
        free(o);
        return -1;
    }
    o->trace_size = trace_records;
    memcpy(o->function_of, function_of_half, sizeof o->function_of);
    o->nodes[0].function = EMU_FUNCTION_NONE;
    o->node_count = 1;
    o->current = 0;
    o->accounted = e->cycles;
    e->observer = o;
    o->current = child_of(o, 0, function_at(e, e->r[15]));
    observe_update(e);
    return 0;
}

void emu_observe_end(struct emu *e) {
    if (e->observer != NULL) free(e->observer->trace);
    free(e->observer);
    e->observer = NULL;
    observe_update(e);
}

uint32_t emu_observe_halves(void) {
    return HALVES;
}

uint32_t emu_half_address(uint32_t half) {
    return half_address(half);
}

void emu_observed(struct emu *e, uint64_t *cycles, uint64_t *counts) {
    if (e->observer == NULL) return;
    memcpy(cycles, e->observer->cycles_at, sizeof e->observer->cycles_at);
    memcpy(counts, e->observer->count_at, sizeof e->observer->count_at);
}

uint32_t emu_observed_paths(struct emu *e) {
    return e->observer == NULL ? 0 : e->observer->node_count;
}

uint64_t emu_observed_path(struct emu *e, uint32_t path, uint32_t *parent, uint32_t *function) {
    if (e->observer == NULL || path >= e->observer->node_count) return 0;
    const struct node *n = &e->observer->nodes[path];
    *parent = n->parent;
    *function = n->function;
    return n->cycles;
}

uint32_t emu_trace_take(struct emu *e, struct emu_trace_record *out, uint32_t n) {
    struct observer *o = e->observer;
    if (o == NULL) return 0;
    n = n < o->trace_count ? n : o->trace_count;
    memcpy(out, o->trace, n * sizeof *out);
    memmove(o->trace, o->trace + n, (o->trace_count - n) * sizeof *out);
    o->trace_count -= n;
    return n;
}
