/* What working on several processes needs of the system: the plug-in, and other processes' ends. */
#ifndef CRANKS_H
#define CRANKS_H

#include "ranks_plugin.h"

enum { CR_TEXT = 512 };

/* ---- the plug-in (plugin.c) ---------------------------------------------------------------------------------------- */

/* Loads the plug-in at `path`; null: where DIFFACCEL_MPI_PLUGIN says, else libdiffaccel_mpi.so beside this library. Null with a
 * reason in `text` (CR_TEXT bytes) when there is none of this interface. It is never unloaded. */
const ranks_plugin *cr_plugin_open(const char *path, char *text);

/* ---- processes (processes.c) --------------------------------------------------------------------------------------- */

/* Names of this machine: as people know it, and one that is equal exactly where processes see each other's numbers. */
void cr_host(char *text);
void cr_machine(char *text);
int32_t cr_process(void);
/* A descriptor that tells when a process of this machine ends; -1 when there is no such process, -2 when the system cannot. */
int32_t cr_watch(int32_t process);
/* Whether the watched process has ended: 0, 1, or 1 + the signal that killed it, where the system tells. */
int32_t cr_ended(int32_t watch);

#endif
