/* The native encoder of the value codec (docs/protocol.md, "Value codec"), used by players.
 *
 * It writes the plain types, exactly these types and nothing else; whatever else it meets makes it give up and return
 * None, and the Python encoder in codec.py, which gives the same bytes, does the whole value. So this file holds no rare
 * case, and the pair can be compared byte for byte.
 *
 * It runs beside hostile code, but runs none of it: every access is to the fields of an exact built-in type. Containers
 * cannot change while they are walked, because nothing here releases the GIL or calls back into Python. */
#include "guest.h"

#include <stdint.h>
#include <string.h>

#define MAX_NATIVE_DEPTH 200
#define FEW 16          /* so many containers are found by looking at each; most values have no more */
#define MEMO_SLOTS 4096 /* a power of two; a value with more than half as many containers is left to Python */

struct out {
    unsigned char *at;
    size_t size, room, bound;
    int strict;
    int owned; /* `at` came from malloc, not from the static buffer */
    unsigned memo_count;
    PyObject *few[FEW];
    int table_used; /* fresh pages cost a player more than the search: the table is touched when `few` is full */
    PyObject *memo_object[MEMO_SLOTS];
    uint32_t memo_number[MEMO_SLOTS];
};

enum outcome { DONE, LEAVE_IT };

static unsigned char first_room[4096];
static struct out out; /* one encoder per process: players are single-threaded here, under the GIL */

static int room_for(size_t more)
{
    if (out.size + more > out.bound)
        return 0;
    if (out.size + more <= out.room)
        return 1;
    size_t room = out.room * 2;
    while (room < out.size + more)
        room *= 2;
    unsigned char *grown = PyMem_Malloc(room);
    if (grown == NULL)
        return 0;
    memcpy(grown, out.at, out.size);
    if (out.owned)
        PyMem_Free(out.at);
    out.at = grown;
    out.room = room;
    out.owned = 1;
    return 1;
}

static enum outcome put(const void *data, size_t size)
{
    if (!room_for(size))
        return LEAVE_IT;
    memcpy(out.at + out.size, data, size);
    out.size += size;
    return DONE;
}

static enum outcome put_tag(char tag)
{
    return put(&tag, 1);
}

static enum outcome put_tagged(char tag, const void *data, size_t size)
{
    if (!room_for(1 + size))
        return LEAVE_IT;
    out.at[out.size] = (unsigned char)tag;
    memcpy(out.at + out.size + 1, data, size);
    out.size += 1 + size;
    return DONE;
}

static enum outcome put_counted(char tag, const void *data, size_t size)
{
    uint32_t count = (uint32_t)size;
    if (size > UINT32_MAX || !room_for(5 + size))
        return LEAVE_IT;
    out.at[out.size] = (unsigned char)tag;
    memcpy(out.at + out.size + 1, &count, sizeof count);
    memcpy(out.at + out.size + 5, data, size);
    out.size += 5 + size;
    return DONE;
}

static size_t slot_of(PyObject *object)
{
    uint64_t mixed = ((uint64_t)(uintptr_t)object >> 4) * 0x9E3779B97F4A7C15ULL;
    size_t slot = (size_t)(mixed >> 52) & (MEMO_SLOTS - 1);
    while (out.memo_object[slot] != NULL && out.memo_object[slot] != object)
        slot = (slot + 1) & (MEMO_SLOTS - 1);
    return slot;
}

static void remember_in_table(PyObject *object, uint32_t number)
{
    size_t slot = slot_of(object);
    out.memo_object[slot] = object;
    out.memo_number[slot] = number;
}

/* The number under which the container was begun, or -1. */
static int64_t number_of(PyObject *object)
{
    if (out.memo_count <= FEW) {
        for (unsigned i = 0; i < out.memo_count; i++)
            if (out.few[i] == object)
                return i;
        return -1;
    }
    size_t slot = slot_of(object);
    return out.memo_object[slot] == NULL ? -1 : (int64_t)out.memo_number[slot];
}

/* Begin a container: DONE with *seen set when a back-reference was written instead. */
static enum outcome begin(PyObject *object, int *seen)
{
    int64_t number = number_of(object);
    *seen = number >= 0;
    if (*seen) {
        uint32_t written = (uint32_t)number;
        out.strict = 0;
        return put_tagged('@', &written, sizeof written);
    }
    if (out.memo_count >= MEMO_SLOTS / 2)
        return LEAVE_IT;
    if (out.memo_count < FEW) {
        out.few[out.memo_count] = object;
    } else {
        if (out.memo_count == FEW) {
            if (out.table_used)
                memset(out.memo_object, 0, sizeof out.memo_object);
            out.table_used = 1;
            for (uint32_t i = 0; i < FEW; i++)
                remember_in_table(out.few[i], i);
        }
        remember_in_table(object, out.memo_count);
    }
    out.memo_count++;
    return DONE;
}

static enum outcome encode(PyObject *value, int depth);

static enum outcome encode_text(PyObject *value)
{
    PyObject *bytes = PyUnicode_AsEncodedString(value, "utf-8", "surrogatepass");
    if (bytes == NULL) {
        PyErr_Clear();
        return LEAVE_IT;
    }
    enum outcome outcome = put_counted('s', PyBytes_AsString(bytes), (size_t)PyBytes_Size(bytes));
    Py_DECREF(bytes);
    return outcome;
}

static enum outcome encode_sequence(PyObject *value, int depth, int is_list)
{
    int seen;
    enum outcome outcome = begin(value, &seen);
    if (outcome != DONE || seen)
        return outcome;
    Py_ssize_t n = is_list ? PyList_Size(value) : PyTuple_Size(value);
    uint32_t count = (uint32_t)n;
    outcome = put_tagged(is_list ? '[' : '(', &count, sizeof count);
    for (Py_ssize_t i = 0; outcome == DONE && i < n; i++)
        outcome = encode(is_list ? PyList_GetItem(value, i) : PyTuple_GetItem(value, i), depth + 1);
    return outcome;
}

static enum outcome encode_dict(PyObject *value, int depth)
{
    int seen;
    out.strict = 0;
    enum outcome outcome = begin(value, &seen);
    if (outcome != DONE || seen)
        return outcome;
    uint32_t count = (uint32_t)PyDict_Size(value);
    outcome = put_tagged('{', &count, sizeof count);
    PyObject *key, *item;
    Py_ssize_t at = 0;
    while (outcome == DONE && PyDict_Next(value, &at, &key, &item)) {
        outcome = encode(key, depth + 1);
        if (outcome == DONE)
            outcome = encode(item, depth + 1);
    }
    return outcome;
}

static enum outcome encode_set(PyObject *value, int depth, char tag)
{
    int seen;
    out.strict = 0;
    enum outcome outcome = begin(value, &seen);
    if (outcome != DONE || seen)
        return outcome;
    uint32_t count = (uint32_t)PySet_Size(value);
    outcome = put_tagged(tag, &count, sizeof count);
    PyObject *iterator = outcome == DONE ? PyObject_GetIter(value) : NULL;
    PyObject *item;
    while (outcome == DONE && iterator != NULL && (item = PyIter_Next(iterator)) != NULL) {
        outcome = encode(item, depth + 1);
        Py_DECREF(item);
    }
    Py_XDECREF(iterator);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return LEAVE_IT;
    }
    return outcome;
}

static enum outcome encode(PyObject *value, int depth)
{
    PyTypeObject *type = Py_TYPE(value);
    if (depth > MAX_NATIVE_DEPTH)
        return LEAVE_IT;
    if (type == &PyLong_Type) {
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (overflow)
            return LEAVE_IT;
        return put_tagged('i', &number, sizeof number);
    }
    if (type == &PyUnicode_Type)
        return encode_text(value);
    if (type == &PyList_Type)
        return encode_sequence(value, depth, 1);
    if (type == &PyTuple_Type)
        return encode_sequence(value, depth, 0);
    if (value == Py_None)
        return put_tag('N');
    if (value == Py_True || value == Py_False) {
        out.strict = 0;
        return put_tag(value == Py_True ? 'T' : 'F');
    }
    if (type == &PyFloat_Type) {
        double number = PyFloat_AsDouble(value);
        out.strict = 0;
        return put_tagged('d', &number, sizeof number);
    }
    if (type == &PyDict_Type)
        return encode_dict(value, depth);
    if (type == &PySet_Type)
        return encode_set(value, depth, '<');
    if (type == &PyFrozenSet_Type)
        return encode_set(value, depth, '>');
    if (type == &PyBytes_Type)
        return put_counted('b', PyBytes_AsString(value), (size_t)PyBytes_Size(value));
    return LEAVE_IT;
}

/* encode(value, max_bytes) -> (bytes, strict), or None: the Python encoder is to do it. */
static PyObject *py_encode(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *value;
    Py_ssize_t bound;
    if (!PyArg_ParseTuple(args, "On:encode", &value, &bound))
        return NULL;
    out.memo_count = 0;
    out.at = first_room;
    out.room = sizeof first_room;
    out.owned = 0;
    out.size = 0;
    out.bound = bound < 0 ? 0 : (size_t)bound;
    out.strict = 1;
    enum outcome outcome = encode(value, 0);
    PyObject *result = NULL;
    if (outcome == DONE) {
        result = Py_BuildValue("y#i", (char *)out.at, (Py_ssize_t)out.size, out.strict);
    } else {
        Py_INCREF(Py_None);
        result = Py_None;
    }
    if (out.owned)
        PyMem_Free(out.at);
    return result;
}

PyMethodDef ace_encode_methods[] = {
    {"encode", py_encode, METH_VARARGS,
     "encode(value, max_bytes) -> (bytes, strict) for plain values, or None where the Python encoder has to do it."},
    {NULL, NULL, 0, NULL},
};
