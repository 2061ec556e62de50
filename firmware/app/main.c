#include "capture.h"
#include "port/port.h"
#include "session.h"

static struct session session;

#if defined(MICROPHONE_KIND)
static void wait(void)
{
    if (capture_work(&session)) {
        return;
    }
    if (session.capture.running) {
        port_microphone_idle();
    } else {
        port_idle();
    }
}
#else
static void wait(void)
{
    port_idle();
}
#endif

int main(void)
{
    port_init();
    session_init(&session);
    session_boot();
    for (;;) {
        const int byte = port_read();

        if (byte < 0) {
            wait();
        } else {
            session_take(&session, (uint8_t)byte);
        }
    }
}
