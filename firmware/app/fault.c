#include "link/sender.h"
#include "port/port.h"

void app_fault(const struct port_fault *fault)
{
    uint8_t frame[LINK_HEADER_BYTES + LINK_FAULT_BYTES + LINK_CRC_BYTES];
    uint8_t *body = frame + LINK_HEADER_BYTES;

    sender_put_header(frame, LINK_FAULT, 0, LINK_UNSOLICITED | LINK_LAST);
    link_header_put_credit(frame, 0); /* nothing is answered until a reset */
    link_fault_put_r0(body, fault->stacked[0]);
    link_fault_put_r1(body, fault->stacked[1]);
    link_fault_put_r2(body, fault->stacked[2]);
    link_fault_put_r3(body, fault->stacked[3]);
    link_fault_put_r12(body, fault->stacked[4]);
    link_fault_put_lr(body, fault->stacked[5]);
    link_fault_put_pc(body, fault->stacked[6]);
    link_fault_put_xpsr(body, fault->stacked[7]);
    link_fault_put_sp(body, fault->sp);
    link_fault_put_exc_return(body, fault->exc_return);
    link_fault_put_stack_bytes(body, fault->stack_bytes);
    sender_send(frame, LINK_HEADER_BYTES + LINK_FAULT_BYTES, port_write_polled);
}
