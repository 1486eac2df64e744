/* Entry point of the abi3 extension `_native`, which the jailed interpreter loads.
 *
 * Each subject lives in its own file and brings a method table; this file only adds them up. */
#include "guest.h"

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "Native part of the jailed side of acesandbox.", -1, NULL, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__native(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL)
        return NULL;
    if (PyModule_AddFunctions(module, ace_encode_methods) < 0 || PyModule_AddFunctions(module, ace_spawn_methods) < 0 ||
        PyModule_AddFunctions(module, ace_filter_methods) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
