/* The value codec's encoder: any Python value as canonical bytes ("Value codec" in docs/protocol.md).
 *
 * Who calls this: the player, for every value that its program returns, in the same process as the program. Nothing
 * here is trusted by the reader of the bytes, so a program that corrupts its own process gains nothing. What this file
 * owes is not to fail on honest values and never to run a program's code where a plain value is read:
 *
 *   - exact plain types are told by their type's address and read through the C API;
 *   - a subclass of a plain type travels as the plain type, read through the base type's own functions, never through
 *     methods that the subclass overrides;
 *   - everything else is handed to `fallback`, Python code that knows the rarer types (codec.py). Only it can run code
 *     of the program, so a container may change while it is walked: every item is held while it is encoded, sizes are
 *     asked again, and counts are written when they are known.
 *
 * guest/codec.py holds the same encoder in Python and a test compares them byte for byte. */
#include "guest.h"

#include <stdint.h>
#include <string.h>

#define MAX_DEPTH           1000
#define DEFAULT_MAX_BYTES   (16 << 20)
#define ROOM_AT_FIRST       1024 /* bytes on the C stack: most values need no other memory */
#define CONTAINERS_AT_FIRST 16   /* searched one by one; beyond them a hash table is made */

struct container {
    PyObject *object; /* a reference is held, so that no later object can have the same address */
    int unfinished;   /* a tuple or its like whose items are being encoded: nothing can refer to it yet */
};

struct encoder {
    unsigned char *bytes;
    size_t used, room, limit;
    int strict;
    PyObject *fallback;
    PyObject *tokens; /* dict of the objects that became tokens, for `fallback`; made when first needed */

    struct container *containers; /* in the order in which they began */
    uint32_t begun, containers_room;
    uint32_t *table; /* open addressing, number + 1; NULL while the search is linear */
    uint32_t table_mask;

    unsigned char first_bytes[ROOM_AT_FIRST];
    struct container first_containers[CONTAINERS_AT_FIRST];
};

/* Methods of the plain types, called as functions so that no subclass has a say: the limited API has no C function for
 * these. Looked up once. */
static PyObject *int_bit_length, *int_to_bytes, *to_bytes_keywords, *set_iter, *frozenset_iter;

static int encode(struct encoder *e, PyObject *object, int depth);

/* ---- bytes ---------------------------------------------------------------------------------------------------- */

static int too_large(const struct encoder *e)
{
    PyErr_Format(PyExc_ValueError, "the value takes more than %zu bytes", e->limit);
    return -1;
}

static int make_room(struct encoder *e, size_t more)
{
    if (more > e->limit - e->used)
        return too_large(e);
    size_t room = e->room;
    while (room - e->used < more)
        room *= 2;
    unsigned char *bytes = e->bytes == e->first_bytes ? PyMem_Malloc(room) : PyMem_Realloc(e->bytes, room);
    if (bytes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (e->bytes == e->first_bytes)
        memcpy(bytes, e->first_bytes, e->used);
    e->bytes = bytes;
    e->room = room;
    return 0;
}

/* Where to write the next `n` bytes, which count as written. NULL: an exception is set. */
static inline unsigned char *claim(struct encoder *e, size_t n)
{
    if ((n > e->room - e->used || n > e->limit - e->used) && make_room(e, n) < 0)
        return NULL;
    unsigned char *at = e->bytes + e->used;
    e->used += n;
    return at;
}

static inline void store_u32(unsigned char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (unsigned char)(value >> 8 * i);
}

static inline void store_u64(unsigned char *at, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        at[i] = (unsigned char)(value >> 8 * i);
}

static int put_tag(struct encoder *e, char tag)
{
    unsigned char *at = claim(e, 1);
    if (at == NULL)
        return -1;
    at[0] = (unsigned char)tag;
    return 0;
}

/* A tag and a number; returns 0 or -1. */
static int put_count(struct encoder *e, char tag, size_t count)
{
    if (count > UINT32_MAX)
        return too_large(e);
    unsigned char *at = claim(e, 5);
    if (at == NULL)
        return -1;
    at[0] = (unsigned char)tag;
    store_u32(at + 1, (uint32_t)count);
    return 0;
}

static int put_blob(struct encoder *e, char tag, const char *data, Py_ssize_t size)
{
    if (size < 0 || (size_t)size > e->limit)
        return too_large(e);
    if (put_count(e, tag, (size_t)size) < 0)
        return -1;
    unsigned char *at = claim(e, (size_t)size);
    if (at == NULL)
        return -1;
    memcpy(at, data, (size_t)size);
    return 0;
}

/* ---- containers that were seen --------------------------------------------------------------------------------- */

static inline uint32_t slot_of(const struct encoder *e, const PyObject *object)
{
    return (uint32_t)(((uintptr_t)object >> 4) * UINT64_C(0x9E3779B97F4A7C15) >> 32) & e->table_mask;
}

/* The container's number, or -1. */
static int64_t find(const struct encoder *e, const PyObject *object)
{
    if (e->table == NULL) {
        for (uint32_t i = 0; i < e->begun; i++)
            if (e->containers[i].object == object)
                return i;
        return -1;
    }
    for (uint32_t slot = slot_of(e, object); e->table[slot] != 0; slot = (slot + 1) & e->table_mask)
        if (e->containers[e->table[slot] - 1].object == object)
            return e->table[slot] - 1;
    return -1;
}

static void enter(struct encoder *e, uint32_t number)
{
    uint32_t slot = slot_of(e, e->containers[number].object);
    while (e->table[slot] != 0)
        slot = (slot + 1) & e->table_mask;
    e->table[slot] = number + 1;
}

/* Twice the room for containers, and a table of four times as many slots: at most half of them are ever in use. */
static int grow_containers(struct encoder *e)
{
    uint32_t room = e->containers_room * 2;
    struct container *containers = e->containers == e->first_containers
                                       ? PyMem_Malloc(room * sizeof *containers)
                                       : PyMem_Realloc(e->containers, room * sizeof *containers);
    if (containers == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (e->containers == e->first_containers)
        memcpy(containers, e->first_containers, sizeof e->first_containers);
    e->containers = containers;
    e->containers_room = room;

    PyMem_Free(e->table);
    e->table = PyMem_Calloc((size_t)room * 2, sizeof *e->table);
    if (e->table == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    e->table_mask = room * 2 - 1;
    for (uint32_t i = 0; i < e->begun; i++)
        enter(e, i);
    return 0;
}

/* Give a container its number, which is -1 with an exception when there is no memory. */
static int64_t begin(struct encoder *e, PyObject *object, int unfinished)
{
    if (e->begun == e->containers_room && grow_containers(e) < 0)
        return -1;
    uint32_t number = e->begun++;
    Py_INCREF(object);
    e->containers[number].object = object;
    e->containers[number].unfinished = unfinished;
    if (e->table != NULL)
        enter(e, number);
    return number;
}

static int too_deep(void)
{
    PyErr_Format(PyExc_ValueError, "the value is nested deeper than %d levels", MAX_DEPTH);
    return -1;
}

/* ---- what only Python knows ------------------------------------------------------------------------------------ */

static PyObject *ask_fallback(struct encoder *e, PyObject *object, int must_be_token)
{
    if (e->fallback == NULL) {
        PyErr_Format(PyExc_ValueError, "%R cannot be encoded", (PyObject *)Py_TYPE(object));
        return NULL;
    }
    if (e->tokens == NULL && (e->tokens = PyDict_New()) == NULL)
        return NULL;
    return PyObject_CallFunctionObjArgs(e->fallback, object, e->tokens, must_be_token ? Py_True : Py_False, NULL);
}

static int put_ready(struct encoder *e, PyObject *ready)
{
    char *data;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(ready, &data, &size) < 0)
        return -1;
    unsigned char *at = claim(e, (size_t)size);
    if (at == NULL)
        return -1;
    memcpy(at, data, (size_t)size);
    return 0;
}

static int encode_token(struct encoder *e, PyObject *object)
{
    PyObject *ready = ask_fallback(e, object, 1);
    if (ready == NULL)
        return -1;
    int result = put_ready(e, ready);
    Py_DECREF(ready);
    return result;
}

/* A back-reference when the container was seen (returns 1), 0 when it must be encoded, -1 on error. */
static int seen(struct encoder *e, PyObject *object)
{
    int64_t number = find(e, object);
    if (number < 0)
        return 0;
    e->strict = 0;
    if (e->containers[number].unfinished)
        return encode_token(e, object) < 0 ? -1 : 1;
    return put_count(e, '@', (size_t)number) < 0 ? -1 : 1;
}

/* A value by its constructor: `pair` is (kind, argument). A kind in upper case is a mutable container, which the
 * decoder makes empty before it reads the argument; others exist only afterwards. */
static int encode_constructed(struct encoder *e, PyObject *object, PyObject *pair, int depth)
{
    if (PyTuple_Size(pair) != 2) {
        PyErr_SetString(PyExc_TypeError, "fallback returns None, bytes or a pair");
        return -1;
    }
    long kind = PyLong_AsLong(PyTuple_GetItem(pair, 0));
    if (kind == -1 && PyErr_Occurred())
        return -1;
    unsigned char *at = claim(e, 2);
    if (at == NULL)
        return -1;
    at[0] = 'M';
    at[1] = (unsigned char)kind;
    int64_t number = begin(e, object, !(kind >= 'A' && kind <= 'Z'));
    if (number < 0 || encode(e, PyTuple_GetItem(pair, 1), depth + 1) < 0)
        return -1;
    e->containers[number].unfinished = 0;
    return 0;
}

/* ---- plain types ----------------------------------------------------------------------------------------------- */

static int encode_large_int(struct encoder *e, PyObject *object)
{
    PyObject *bits = PyObject_CallFunctionObjArgs(int_bit_length, object, NULL);
    if (bits == NULL)
        return -1;
    Py_ssize_t size = PyLong_AsSsize_t(bits) / 8 + 1;
    Py_DECREF(bits);
    if ((size_t)size > e->limit)
        return too_large(e);
    PyObject *arguments = Py_BuildValue("(Ons)", object, size, "little");
    if (arguments == NULL)
        return -1;
    PyObject *made = PyObject_Call(int_to_bytes, arguments, to_bytes_keywords);
    Py_DECREF(arguments);
    if (made == NULL)
        return -1;
    char *data;
    int result = PyBytes_AsStringAndSize(made, &data, &size);
    if (result == 0) {
        /* -2**(8k-1) fits into one byte less than the bits of its absolute value suggest. */
        if (size > 1 && (unsigned char)data[size - 1] == 0xFF && (data[size - 2] & 0x80))
            size--;
        result = put_blob(e, 'I', data, size);
    }
    Py_DECREF(made);
    return result;
}

static int encode_int(struct encoder *e, PyObject *object)
{
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (overflow)
        return encode_large_int(e, object);
    if (value == -1 && PyErr_Occurred())
        return -1;
    unsigned char *at = claim(e, 9);
    if (at == NULL)
        return -1;
    at[0] = 'i';
    store_u64(at + 1, (uint64_t)value);
    return 0;
}

static int encode_str(struct encoder *e, PyObject *object)
{
    PyObject *text = PyUnicode_AsUTF8String(object);
    if (text == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
            return -1;
        PyErr_Clear();
        text = PyUnicode_AsEncodedString(object, "utf-8", "surrogatepass");
        if (text == NULL)
            return -1;
    }
    char *data;
    Py_ssize_t size;
    int result = PyBytes_AsStringAndSize(text, &data, &size);
    if (result == 0)
        result = put_blob(e, 's', data, size);
    Py_DECREF(text);
    return result;
}

static int put_doubles(struct encoder *e, char tag, const double *values, int count)
{
    unsigned char *at = claim(e, 1 + 8 * (size_t)count);
    if (at == NULL)
        return -1;
    at[0] = (unsigned char)tag;
    for (int i = 0; i < count; i++) {
        uint64_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        store_u64(at + 1 + 8 * i, bits);
    }
    return 0;
}

static int encode_float(struct encoder *e, PyObject *object)
{
    double value = PyFloat_AsDouble(object);
    if (value == -1.0 && PyErr_Occurred())
        return -1;
    return put_doubles(e, 'd', &value, 1);
}

static int encode_complex(struct encoder *e, PyObject *object)
{
    double values[2] = {PyComplex_RealAsDouble(object), PyComplex_ImagAsDouble(object)};
    if (PyErr_Occurred())
        return -1;
    return put_doubles(e, 'c', values, 2);
}

static int encode_bytes(struct encoder *e, PyObject *object)
{
    char *data;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(object, &data, &size) < 0)
        return -1;
    return put_blob(e, 'b', data, size);
}

static int encode_bytearray(struct encoder *e, PyObject *object)
{
    if (begin(e, object, 0) < 0)
        return -1;
    return put_blob(e, 'B', PyByteArray_AsString(object), PyByteArray_Size(object));
}

/* Items of a list or tuple may go away while others are encoded, see the top of the file. Returns their number. */
static Py_ssize_t encode_items(struct encoder *e, PyObject *object, int depth, Py_ssize_t (*size)(PyObject *),
                               PyObject *(*get)(PyObject *, Py_ssize_t))
{
    Py_ssize_t i;
    for (i = 0; i < size(object); i++) {
        PyObject *item = get(object, i);
        if (item == NULL)
            return -1;
        Py_INCREF(item);
        int result = encode(e, item, depth + 1);
        Py_DECREF(item);
        if (result < 0)
            return -1;
    }
    return i;
}

static int encode_list(struct encoder *e, PyObject *object, int depth)
{
    if (put_count(e, '[', 0) < 0 || begin(e, object, 0) < 0)
        return -1;
    size_t header = e->used - 4;
    Py_ssize_t count = encode_items(e, object, depth, PyList_Size, PyList_GetItem);
    if (count < 0)
        return -1;
    store_u32(e->bytes + header, (uint32_t)count); /* every item took a byte, so the count fits */
    return 0;
}

static int encode_tuple(struct encoder *e, PyObject *object, int depth)
{
    if (put_count(e, '(', (size_t)PyTuple_Size(object)) < 0)
        return -1;
    int64_t number = begin(e, object, 1);
    if (number < 0 || encode_items(e, object, depth, PyTuple_Size, PyTuple_GetItem) < 0)
        return -1;
    e->containers[number].unfinished = 0;
    return 0;
}

static int encode_dict(struct encoder *e, PyObject *object, int depth)
{
    if (put_count(e, '{', 0) < 0 || begin(e, object, 0) < 0)
        return -1;
    size_t header = e->used - 4;
    uint32_t count = 0;
    Py_ssize_t position = 0;
    PyObject *key, *value;
    while (PyDict_Next(object, &position, &key, &value)) {
        Py_INCREF(key);
        Py_INCREF(value);
        int result = encode(e, key, depth + 1);
        if (result == 0)
            result = encode(e, value, depth + 1);
        Py_DECREF(key);
        Py_DECREF(value);
        if (result < 0)
            return -1;
        count++;
    }
    store_u32(e->bytes + header, count);
    return 0;
}

static int encode_set(struct encoder *e, PyObject *object, int depth, int frozen)
{
    PyObject *iterator = PyObject_CallFunctionObjArgs(frozen ? frozenset_iter : set_iter, object, NULL);
    if (iterator == NULL)
        return -1;
    PyObject *items = PySequence_List(iterator); /* the set may change while its items are encoded */
    Py_DECREF(iterator);
    if (items == NULL)
        return -1;
    int64_t number = -1;
    int result = put_count(e, frozen ? '>' : '<', (size_t)PyList_Size(items));
    if (result == 0) {
        number = begin(e, object, frozen);
        if (number < 0 || encode_items(e, items, depth, PyList_Size, PyList_GetItem) < 0)
            result = -1;
        else
            e->containers[number].unfinished = 0;
    }
    Py_DECREF(items);
    return result;
}

static int encode_three(struct encoder *e, PyObject *object, int depth, char tag)
{
    static const char *const parts[] = {"start", "stop", "step"};
    e->strict = 0;
    if (depth >= MAX_DEPTH)
        return too_deep();
    if (put_tag(e, tag) < 0)
        return -1;
    for (int i = 0; i < 3; i++) {
        PyObject *part = PyObject_GetAttrString(object, parts[i]); /* neither type can be subclassed */
        if (part == NULL)
            return -1;
        int result = encode(e, part, depth + 1);
        Py_DECREF(part);
        if (result < 0)
            return -1;
    }
    return 0;
}

/* A subclass of a plain type, as the plain type. `seen` has been asked. */
static int encode_as_plain(struct encoder *e, PyObject *object, int depth)
{
    if (PyLong_Check(object))
        return encode_int(e, object);
    if (PyUnicode_Check(object))
        return encode_str(e, object);
    if (PyBytes_Check(object))
        return encode_bytes(e, object);
    if (PyFloat_Check(object))
        return encode_float(e, object);
    if (PyComplex_Check(object))
        return encode_complex(e, object);
    if (PyList_Check(object))
        return encode_list(e, object, depth);
    if (PyTuple_Check(object))
        return encode_tuple(e, object, depth);
    if (PyDict_Check(object))
        return encode_dict(e, object, depth);
    if (PyByteArray_Check(object))
        return encode_bytearray(e, object);
    if (PyFrozenSet_Check(object))
        return encode_set(e, object, depth, 1);
    if (PySet_Check(object))
        return encode_set(e, object, depth, 0);
    return encode_token(e, object);
}

/* Whatever is not exactly of a plain type. */
static int encode_other(struct encoder *e, PyObject *object, int depth)
{
    e->strict = 0;
    int known = seen(e, object);
    if (known != 0)
        return known < 0 ? -1 : 0;
    if (depth >= MAX_DEPTH)
        return too_deep();
    if (e->fallback == NULL)
        return encode_as_plain(e, object, depth);
    PyObject *answer = ask_fallback(e, object, 0);
    if (answer == NULL)
        return -1;
    int result;
    if (answer == Py_None)
        result = encode_as_plain(e, object, depth);
    else if (PyTuple_Check(answer))
        result = encode_constructed(e, object, answer, depth);
    else
        result = put_ready(e, answer);
    Py_DECREF(answer);
    return result;
}

static int encode(struct encoder *e, PyObject *object, int depth)
{
    PyTypeObject *type = Py_TYPE(object);
    if (type == &PyLong_Type)
        return encode_int(e, object);
    if (type == &PyUnicode_Type)
        return encode_str(e, object);
    if (object == Py_None)
        return put_tag(e, 'N');
    if (type == &PyBytes_Type)
        return encode_bytes(e, object);
    if (type == &PyList_Type || type == &PyTuple_Type) {
        /* There is one empty tuple in a process: its identity says nothing, and as a reference it would cost strict. */
        int known = type == &PyTuple_Type && PyTuple_Size(object) == 0 ? 0 : seen(e, object);
        if (known != 0)
            return known < 0 ? -1 : 0;
        if (depth >= MAX_DEPTH)
            return too_deep();
        return type == &PyList_Type ? encode_list(e, object, depth) : encode_tuple(e, object, depth);
    }

    e->strict = 0;
    if (type == &PyBool_Type)
        return put_tag(e, object == Py_True ? 'T' : 'F');
    if (type == &PyFloat_Type)
        return encode_float(e, object);
    if (type == &PyComplex_Type)
        return encode_complex(e, object);
    if (type == &PyDict_Type || type == &PySet_Type || type == &PyFrozenSet_Type || type == &PyByteArray_Type) {
        int known = seen(e, object);
        if (known != 0)
            return known < 0 ? -1 : 0;
        if (depth >= MAX_DEPTH)
            return too_deep();
        if (type == &PyDict_Type)
            return encode_dict(e, object, depth);
        if (type == &PyByteArray_Type)
            return encode_bytearray(e, object);
        return encode_set(e, object, depth, type == &PyFrozenSet_Type);
    }
    if (type == &PyRange_Type)
        return encode_three(e, object, depth, 'r');
    if (type == &PySlice_Type)
        return encode_three(e, object, depth, ':');
    if (object == Py_Ellipsis)
        return put_tag(e, '.');
    return encode_other(e, object, depth);
}

/* ---- the function ---------------------------------------------------------------------------------------------- */

static int look_up_methods(void)
{
    if (to_bytes_keywords != NULL)
        return 0;
    int_bit_length = PyObject_GetAttrString((PyObject *)&PyLong_Type, "bit_length");
    int_to_bytes = PyObject_GetAttrString((PyObject *)&PyLong_Type, "to_bytes");
    set_iter = PyObject_GetAttrString((PyObject *)&PySet_Type, "__iter__");
    frozenset_iter = PyObject_GetAttrString((PyObject *)&PyFrozenSet_Type, "__iter__");
    if (int_bit_length == NULL || int_to_bytes == NULL || set_iter == NULL || frozenset_iter == NULL)
        return -1;
    to_bytes_keywords = Py_BuildValue("{sO}", "signed", Py_True);
    return to_bytes_keywords == NULL ? -1 : 0;
}

static PyObject *py_encode(PyObject *self, PyObject *arguments)
{
    (void)self;
    struct encoder e; /* its arrays are not cleared: most values use a few bytes of them */
    Py_ssize_t given = PyTuple_Size(arguments);
    Py_ssize_t limit = DEFAULT_MAX_BYTES;
    if (given < 1 || given > 3) {
        PyErr_SetString(PyExc_TypeError, "encode(value, max_bytes=16777216, fallback=None)");
        return NULL;
    }
    if (given > 1) {
        limit = PyLong_AsSsize_t(PyTuple_GetItem(arguments, 1));
        if (limit == -1 && PyErr_Occurred())
            return NULL;
        if (limit < 0 || limit > INT32_MAX) {
            PyErr_SetString(PyExc_ValueError, "max_bytes is out of range");
            return NULL;
        }
    }
    e.fallback = given > 2 ? PyTuple_GetItem(arguments, 2) : NULL;
    if (e.fallback == Py_None)
        e.fallback = NULL;
    if (look_up_methods() < 0)
        return NULL;
    e.bytes = e.first_bytes;
    e.used = 0;
    e.room = sizeof e.first_bytes;
    e.limit = (size_t)limit;
    e.strict = 1;
    e.tokens = NULL;
    e.containers = e.first_containers;
    e.begun = 0;
    e.containers_room = CONTAINERS_AT_FIRST;
    e.table = NULL;
    e.table_mask = 0;

    PyObject *result = NULL;
    if (encode(&e, PyTuple_GetItem(arguments, 0), 0) == 0) {
        PyObject *bytes = PyBytes_FromStringAndSize((char *)e.bytes, (Py_ssize_t)e.used);
        if (bytes != NULL) {
            result = PyTuple_Pack(2, bytes, e.strict ? Py_True : Py_False);
            Py_DECREF(bytes);
        }
    }
    for (uint32_t i = 0; i < e.begun; i++)
        Py_DECREF(e.containers[i].object);
    Py_XDECREF(e.tokens);
    if (e.bytes != e.first_bytes)
        PyMem_Free(e.bytes);
    if (e.containers != e.first_containers)
        PyMem_Free(e.containers);
    PyMem_Free(e.table);
    return result;
}

PyMethodDef ace_encode_methods[] = {
    {"encode", py_encode, METH_VARARGS,
     "encode(value, max_bytes=16777216, fallback=None) -> (bytes, strict)\n\n"
     "The value's canonical bytes, and whether it consists of None, int, str, bytes, list and tuple only.\n"
     "fallback(object, tokens, must_be_token) is asked about objects of other types: None (encode it as the plain "
     "type\n"
     "that it derives from), bytes (its encoding) or (kind, argument). Raises ValueError for what is too large or too\n"
     "deep."},
    {NULL, NULL, 0, NULL},
};
