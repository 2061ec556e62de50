#include "port/port.h"
#include "session.h"

static struct session session;

int main(void)
{
    port_init();
    session_init(&session);
    session_boot();
    for (;;) {
        const int byte = port_read();

        if (byte < 0) {
            port_idle();
        } else {
            session_take(&session, (uint8_t)byte);
        }
    }
}
