/* The arguments of the program as the loader hands them over. Swift reads them from /proc, which is not mounted everywhere. */
#ifndef CCOMMANDLINE_H
#define CCOMMANDLINE_H

#include "csounds.h"

/* How many there are, the program's name included; 0 when the system does not tell. */
int cc_argument_count(void);
/* Number `index` of them; null outside. */
const char *cc_argument(int index);

#endif
