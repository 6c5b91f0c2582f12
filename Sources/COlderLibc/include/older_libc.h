/* Nothing to call: the linker puts what older.c defines in the place of the C library's functions (see Package.swift). */
