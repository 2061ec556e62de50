/* startup.c -- from reset to main. */
#include <stdint.h>

#include "stack.h"

extern uint32_t link_data_start[], link_data_end[], link_bss_start[], link_bss_end[];
extern const uint32_t link_data_load[];

int main(void);
void reset_handler(void);

/* Everything below the frame of the caller; RAM is zero or noise before. */
static void paint_stack(void)
{
    volatile uint32_t here = 0;

    for (volatile uint32_t *word = link_stack_bottom; word < &here; word++) {
        *word = STACK_PAINT;
    }
}

static void fill_data(void)
{
    const uint32_t *from = link_data_load;

    for (volatile uint32_t *to = link_data_start; to < link_data_end; to++) {
        *to = *from++;
    }
    for (volatile uint32_t *to = link_bss_start; to < link_bss_end; to++) {
        *to = 0;
    }
}

void reset_handler(void)
{
    paint_stack();
    fill_data();
    main();
    for (;;) {
    }
}
