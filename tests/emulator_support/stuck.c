/* A HardFault handler as many start-up files have it. */
void hardfault_handler(void) {
    for (;;) {}
}
