/* yaml_private.h: what yaml.c and yaml_scalar.c share. */
#ifndef FMP_ENGINE_YAML_PRIVATE_H
#define FMP_ENGINE_YAML_PRIVATE_H

#include "yaml_tree.h"

#define FMP_YAML_MAX_DEPTH 64

/* Give the plain scalar `node` its kind and value from node->text. */
void fmp_yaml_type_(fmp_arena *arena, fmp_yaml *node);

#endif
