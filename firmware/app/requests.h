/* requests.h -- carries out a request whose turn it is. */
#ifndef APP_REQUESTS_H
#define APP_REQUESTS_H

#include "session.h"

/* Act on the request in session->receiver.frame and answer it. */
void requests_act(struct session *session);

#endif
