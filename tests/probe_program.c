/* probe_program.c -- something to debug: no hardware beyond the core, variables of several kinds. */
#include <stdint.h>

extern uint32_t link_stack_top[], link_data_start[], link_data_end[], link_data_load[], link_bss_start[],
    link_bss_end[];
int main(void);
void reset_handler(void);

struct point {
    int16_t x, y;
};

static const uint32_t steps[4] = {10, 20, 30, 40};
volatile uint32_t total, ticks, request;
volatile struct point where = {3, -4};

static uint32_t add(uint32_t a, uint32_t b) {
    uint32_t sum = a + b;
    return sum;
}

static void act(uint32_t what) {
    if (what == 1) __asm__ volatile("bkpt #7");
    if (what == 2) *(volatile uint32_t *)0x30000000u = 1; /* nothing is there */
    if (what == 3) __asm__ volatile("wfi");
    if (what == 4) *(volatile uint32_t *)0xE000ED0Cu = 0x05FA0004u; /* reset */
}

int main(void) {
    *(volatile uint32_t *)0xE000E014u = 199; /* SysTick: every 200 cycles */
    *(volatile uint32_t *)0xE000E010u = 7;
    for (uint32_t round = 0;; round++) {
        total = add(total, steps[round & 3]);
        where.x = (int16_t)(where.x + 1);
        act(request);
    }
}

void reset_handler(void) {
    const uint32_t *from = link_data_load;
    for (uint32_t *to = link_data_start; to < link_data_end; to++) *to = *from++;
    for (uint32_t *to = link_bss_start; to < link_bss_end; to++) *to = 0;
    main();
}

static void tick(void) {
    ticks++;
}

static void fault(void) {
    for (;;) total = 0;
}

__attribute__((section(".vectors"), used)) void *const vectors[16] = {
    link_stack_top, (void *)reset_handler, (void *)fault, (void *)fault, [15] = (void *)tick,
};
