/*
 * memory.h - what SQLite allocates with. Inside store/ only.
 */
#ifndef BH_STORE_MEMORY_H
#define BH_STORE_MEMORY_H

/* Before the first store of the process is opened; later it changes nothing. */
void bh_memory_use(void);

#endif
