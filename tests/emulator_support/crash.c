/* An unaligned load three calls deep. */
#include <stdint.h>

volatile uint32_t sink;

void innermost(const uint8_t *p) { sink = *(const volatile uint32_t *)(p + 1); sink++; }
void middle(const uint8_t *p) { innermost(p + 4); sink++; }
void outermost(const uint8_t *p) { middle(p + 4); sink++; }

int main(void) {
    outermost((const uint8_t *)0x20000000);
    return 0;
}
