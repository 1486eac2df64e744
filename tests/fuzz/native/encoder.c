/* The encoder alone as an extension module: what the rest of `_native` needs (system calls, a filter) is no part of it. */
#include "guest.h"

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "The codec's encoder.", -1, ace_encode_methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModule_Create(&definition);
}
