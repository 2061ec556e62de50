/* start.c -- from reset to main and to the BKPT that ends the run; programs of `hil bench emulator`. */
#include <stdint.h>

extern uint32_t link_data_start[], link_data_end[], link_bss_start[], link_bss_end[], link_stack_top[];
extern const uint32_t link_data_load[];

int main(void);
void reset_handler(void);

void reset_handler(void)
{
    const uint32_t *from = link_data_load;

    for (volatile uint32_t *to = link_data_start; to < link_data_end; to++) {
        *to = *from++;
    }
    for (volatile uint32_t *to = link_bss_start; to < link_bss_end; to++) {
        *to = 0;
    }
    main();
    __asm__ volatile("bkpt #0");
    for (;;) {
    }
}

struct vectors {
    uint32_t *stack_top;
    void (*reset)(void);
};

extern const struct vectors vectors;

__attribute__((section(".vectors"), used)) const struct vectors vectors = {link_stack_top, reset_handler};
