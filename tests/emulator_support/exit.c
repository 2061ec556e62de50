/* Prints by semihosting and ends with status 3. */
#include <stdint.h>

static int32_t ask(uint32_t what, const void *argument) {
    register uint32_t r0 __asm("r0") = what;
    register const void *r1 __asm("r1") = argument;
    __asm volatile("bkpt #0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return (int32_t)r0;
}

int main(void) {
    static const uint32_t status[2] = {0x20026, 3};
    ask(0x04, "hello from ");
    for (const char *c = "the chip\n"; *c; c++) ask(0x03, c);
    ask(0x20, status);
    return 0;
}
