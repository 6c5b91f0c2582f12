/* Holds no code: this target exists for the linker settings of the shared library (see Package.swift). */
typedef int diffaccel_link_translation_unit_is_not_empty;
