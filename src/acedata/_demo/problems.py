"""The problems of the embedded example, all of our own writing: what `make` turns into seeds and models' answers.

A problem holds what a seed would (an instruction or a title, a rough program), the question that a synthesizer would make
of it, a right program, another right one, wrong ones as models write them, and the arguments of its tests. Expected
results are not written here: `make` gets right ones from the right program and hallucinated ones from a wrong one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One problem.

    Attributes:
        name: the function asked for.
        source: "evol", "oss" or "stack_python_fns".
        ask: the seed's instruction; for a stack function, its docstring's first line.
        question: the rewritten, self-contained question.
        right: a correct program.
        other: a correct program of another make.
        wrong: programs with the mistakes that are usual for it.
        calls: arguments of each test, as source text.
        hard: share of wrong programs that a middling policy writes, 0 to 1.
    """

    name: str
    source: str
    ask: str
    question: str
    right: str
    other: str
    wrong: tuple[str, ...]
    calls: tuple[str, ...]
    hard: float = 0.4


def _calls(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


PROBLEMS = (
    Problem(
        "run_lengths",
        "evol",
        "Rewrite the function below so that it compresses a string by run lengths, and handle the empty string.",
        "A sensor writes one letter per second. Write a function `run_lengths(text)` that returns a list of tuples "
        "`(letter, count)`, one for each longest run of equal letters in `text`, in order. An empty text gives an empty list.",
        "def run_lengths(text):\n    runs = []\n    for letter in text:\n        if runs and runs[-1][0] == letter:\n"
        "            runs[-1] = (letter, runs[-1][1] + 1)\n        else:\n            runs.append((letter, 1))\n    return runs",
        "from itertools import groupby\n\ndef run_lengths(text):\n    return [(k, len(list(g))) for k, g in groupby(text)]",
        (
            "def run_lengths(text):\n    return [(c, text.count(c)) for c in dict.fromkeys(text)]",
            "def run_lengths(text):\n    runs = []\n    count = 1\n    for a, b in zip(text, text[1:]):\n        if a == b:\n"
            "            count += 1\n        else:\n            runs.append((a, count))\n            count = 1\n    return runs",
        ),
        _calls(
            "''\n'a'\n'aaa'\n'ab'\n'aab'\n'abb'\n'aabb'\n'aba'\n'aabbaa'\n'xyz'\n'zzzzzz'\n'  x'\n'112233'\n'mississippi'\n'AAaa'\n'---'"
        ),
    ),
    Problem(
        "bounce_sum",
        "evol",
        "Extend this loop so that it adds up the path of a ball that loses height with every bounce.",
        "A ball is dropped from `height` centimetres. After each bounce it reaches half of the height before, rounded down. "
        "Write `bounce_sum(height)` that returns the whole distance travelled, down and up, until it lies still at height 0.",
        "def bounce_sum(height):\n    total = height\n    while height > 0:\n        height //= 2\n        total += 2 * height\n    return total",
        "def bounce_sum(height):\n    if height == 0:\n        return 0\n    rest = height // 2\n    return height + rest + bounce_sum(rest)",
        (
            "def bounce_sum(height):\n    total = 0\n    while height > 0:\n        total += height\n        height //= 2\n    return total",
            "def bounce_sum(height):\n    return height * 3",
        ),
        _calls("0\n1\n2\n3\n4\n5\n7\n8\n10\n15\n16\n31\n100\n127\n1000\n999"),
        0.5,
    ),
    Problem(
        "second_largest",
        "evol",
        "Change the code to find the second largest distinct number, returning None if it does not exist.",
        "Write `second_largest(numbers)` that returns the second largest of the distinct values in the list `numbers`, or "
        "`None` when there are fewer than two distinct values.",
        "def second_largest(numbers):\n    distinct = sorted(set(numbers))\n    return distinct[-2] if len(distinct) > 1 else None",
        "def second_largest(numbers):\n    best = second = None\n    for n in numbers:\n        if best is None or n > best:\n"
        "            best, second = n, best\n        elif n != best and (second is None or n > second):\n            second = n\n    return second",
        (
            "def second_largest(numbers):\n    return sorted(numbers)[-2]",
            "def second_largest(numbers):\n    numbers.remove(max(numbers))\n    return max(numbers) if numbers else None",
        ),
        _calls(
            "[]\n[1]\n[1, 2]\n[2, 1]\n[5, 5]\n[5, 5, 4]\n[3, 1, 2]\n[-1, -2]\n[0, 0, 0]\n[7, 7, 6, 6]\n[10, 20, 30]\n[1, 3, 3]\n[-5, 5]\n[2, 9, 9, 8]\n[4, 4, 4, 1]\n[100]"
        ),
        0.45,
    ),
    Problem(
        "is_balanced",
        "evol",
        "Add support for three kinds of brackets to the checker.",
        "Write `is_balanced(text)` that returns True if every bracket among `()[]{}` in `text` is closed by the right bracket in "
        "the right order, and False otherwise. Other characters are ignored.",
        "def is_balanced(text):\n    stack = []\n    closing = {')': '(', ']': '[', '}': '{'}\n    for c in text:\n        if c in '([{':\n"
        "            stack.append(c)\n        elif c in closing:\n            if not stack or stack.pop() != closing[c]:\n                return False\n    return not stack",
        "import re\n\ndef is_balanced(text):\n    rest = re.sub(r'[^()\\[\\]{}]', '', text)\n    before = None\n    while rest != before:\n"
        "        before = rest\n        rest = rest.replace('()', '').replace('[]', '').replace('{}', '')\n    return rest == ''",
        (
            "def is_balanced(text):\n    return all(text.count(a) == text.count(b) for a, b in ('()', '[]', '{}'))",
            "def is_balanced(text):\n    depth = 0\n    for c in text:\n        if c in '([{':\n            depth += 1\n        elif c in ')]}':\n"
            "            depth -= 1\n    return depth == 0",
        ),
        _calls(
            "''\n'()'\n'(]'\n'([)]'\n'([])'\n')('\n'(('\n'{[()]}'\n'a(b)c'\n'}{'\n'[[]'\n'no brackets'\n'{(})'\n'[]{}()'\n'((()))'\n'(()'"
        ),
    ),
    Problem(
        "weekday_shift",
        "evol",
        "Evolve the prompt: instead of adding days to a number, work with the names of weekdays.",
        "Write `weekday_shift(day, days)`: `day` is one of 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'; return the name of the day "
        "that is `days` days later. `days` may be negative or larger than 7.",
        "def weekday_shift(day, days):\n    names = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun']\n    return names[(names.index(day) + days) % 7]",
        "def weekday_shift(day, days):\n    names = 'Mon Tue Wed Thu Fri Sat Sun'.split()\n    at = {n: i for i, n in enumerate(names)}[day]\n"
        "    for _ in range(days % 7):\n        at = at + 1 if at < 6 else 0\n    return names[at]",
        (
            "def weekday_shift(day, days):\n    names = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun']\n    return names[names.index(day) + days]",
            "def weekday_shift(day, days):\n    names = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']\n    return names[(names.index(day) + abs(days)) % 7]",
        ),
        _calls(
            "'Mon', 0\n'Mon', 1\n'Sun', 1\n'Sat', 2\n'Wed', -1\n'Mon', -1\n'Fri', 7\n'Thu', 14\n'Tue', 100\n'Sun', -8\n'Sat', -7\n'Mon', 6\n'Thu', 3\n'Fri', 365\n'Wed', 5\n'Tue', -3"
        ),
        0.3,
    ),
    Problem(
        "merge_intervals",
        "evol",
        "Make the solution merge overlapping meetings and keep the result sorted.",
        "Write `merge_intervals(intervals)`: given a list of `[start, end]` lists with start <= end, return the list of merged intervals "
        "sorted by start. Intervals that touch, such as [1, 2] and [2, 3], are merged.",
        "def merge_intervals(intervals):\n    merged = []\n    for start, end in sorted(intervals):\n        if merged and start <= merged[-1][1]:\n"
        "            merged[-1][1] = max(merged[-1][1], end)\n        else:\n            merged.append([start, end])\n    return merged",
        "def merge_intervals(intervals):\n    rest = sorted(map(list, intervals))\n    i = 0\n    while i + 1 < len(rest):\n        if rest[i + 1][0] <= rest[i][1]:\n"
        "            rest[i][1] = max(rest[i][1], rest.pop(i + 1)[1])\n        else:\n            i += 1\n    return rest",
        (
            "def merge_intervals(intervals):\n    merged = []\n    for start, end in sorted(intervals):\n        if merged and start < merged[-1][1]:\n"
            "            merged[-1][1] = end\n        else:\n            merged.append([start, end])\n    return merged",
            "def merge_intervals(intervals):\n    merged = []\n    for start, end in intervals:\n        if merged and start <= merged[-1][1]:\n"
            "            merged[-1][1] = max(merged[-1][1], end)\n        else:\n            merged.append([start, end])\n    return merged",
        ),
        _calls(
            "[]\n[[1, 2]]\n[[1, 2], [2, 3]]\n[[1, 5], [2, 3]]\n[[3, 4], [1, 2]]\n[[1, 3], [2, 6], [8, 10]]\n[[5, 5]]\n[[1, 10], [2, 3], [4, 5]]\n[[0, 0], [0, 1]]\n"
            "[[6, 8], [1, 9], [2, 4]]\n[[-3, -1], [-2, 4]]\n[[1, 2], [3, 4], [5, 6]]\n[[1, 4], [0, 4]]\n[[1, 4], [0, 0]]\n[[2, 3], [2, 3]]\n[[7, 9], [1, 7]]"
        ),
        0.55,
    ),
    Problem(
        "roman",
        "evol",
        "Turn the lookup table into a converter for whole numbers up to 3999.",
        "Write `roman(number)` that returns the Roman numeral of an integer from 1 to 3999, with subtractive forms such as IV and CM.",
        "def roman(number):\n    table = [(1000, 'M'), (900, 'CM'), (500, 'D'), (400, 'CD'), (100, 'C'), (90, 'XC'), (50, 'L'), (40, 'XL'), (10, 'X'), (9, 'IX'), (5, 'V'), (4, 'IV'), (1, 'I')]\n"
        "    out = ''\n    for value, sign in table:\n        while number >= value:\n            out += sign\n            number -= value\n    return out",
        "def roman(number):\n    ones = ['', 'I', 'II', 'III', 'IV', 'V', 'VI', 'VII', 'VIII', 'IX']\n    tens = [s.translate(str.maketrans('IVX', 'XLC')) for s in ones]\n"
        "    hundreds = [s.translate(str.maketrans('IVX', 'CDM')) for s in ones]\n    return 'M' * (number // 1000) + hundreds[number // 100 % 10] + tens[number // 10 % 10] + ones[number % 10]",
        (
            "def roman(number):\n    table = [(1000, 'M'), (500, 'D'), (100, 'C'), (50, 'L'), (10, 'X'), (5, 'V'), (1, 'I')]\n    out = ''\n    for value, sign in table:\n"
            "        out += sign * (number // value)\n        number %= value\n    return out",
            "def roman(number):\n    table = [(1000, 'M'), (500, 'D'), (100, 'C'), (50, 'L'), (10, 'X'), (9, 'IX'), (5, 'V'), (4, 'IV'), (1, 'I')]\n    out = ''\n    for value, sign in table:\n"
            "        out += sign * (number // value)\n        number %= value\n    return out",
        ),
        _calls("1\n2\n3\n4\n5\n9\n10\n14\n40\n44\n90\n99\n400\n944\n1987\n3999"),
        0.5,
    ),
    Problem(
        "chunk_sums",
        "evol",
        "Generalise the function to any chunk size and sum the chunks.",
        "Write `chunk_sums(numbers, size)` that cuts the list into consecutive chunks of `size` elements (the last may be shorter) and returns the list of their sums.",
        "def chunk_sums(numbers, size):\n    return [sum(numbers[i:i + size]) for i in range(0, len(numbers), size)]",
        "def chunk_sums(numbers, size):\n    sums = []\n    for i, n in enumerate(numbers):\n        if i % size == 0:\n            sums.append(0)\n        sums[-1] += n\n    return sums",
        (
            "def chunk_sums(numbers, size):\n    return [sum(numbers[i:i + size]) for i in range(0, len(numbers) - size + 1, size)]",
            "def chunk_sums(numbers, size):\n    return [sum(numbers[i:i + size]) for i in range(0, len(numbers))]",
        ),
        _calls(
            "[], 2\n[1], 1\n[1], 3\n[1, 2], 1\n[1, 2], 2\n[1, 2, 3], 2\n[1, 2, 3, 4], 2\n[5, 5, 5], 3\n[1, -1, 1, -1], 2\n[0, 0, 7], 2\n[10, 20, 30, 40, 50], 4\n[3, 1, 4, 1, 5, 9], 3\n[2, 2], 5\n[9, 8, 7], 1\n[1, 2, 3, 4, 5], 2\n[100, -100], 1"
        ),
        0.25,
    ),
    Problem(
        "spiral",
        "evol",
        "Make the matrix exercise harder: return the elements in spiral order.",
        "Write `spiral(matrix)` that returns the elements of a rectangular matrix (list of equal rows) in clockwise spiral order from the upper left corner. An empty matrix gives [].",
        "def spiral(matrix):\n    out = []\n    rows = [list(r) for r in matrix]\n    while rows:\n        out += rows.pop(0)\n        rows = [list(r) for r in zip(*rows)][::-1]\n    return out",
        "def spiral(matrix):\n    if not matrix:\n        return []\n    seen, out = set(), []\n    r = c = d = 0\n    steps = [(0, 1), (1, 0), (0, -1), (-1, 0)]\n"
        "    for _ in range(len(matrix) * len(matrix[0])):\n        out.append(matrix[r][c])\n        seen.add((r, c))\n        a, b = r + steps[d][0], c + steps[d][1]\n"
        "        if not (0 <= a < len(matrix) and 0 <= b < len(matrix[0])) or (a, b) in seen:\n            d = (d + 1) % 4\n            a, b = r + steps[d][0], c + steps[d][1]\n        r, c = a, b\n    return out",
        (
            "def spiral(matrix):\n    out = []\n    for i, row in enumerate(matrix):\n        out += row if i % 2 == 0 else row[::-1]\n    return out",
            "def spiral(matrix):\n    out = []\n    while matrix:\n        out += matrix[0]\n        matrix = [list(r) for r in zip(*matrix[1:])]\n    return out",
        ),
        _calls(
            "[]\n[[1]]\n[[1, 2]]\n[[1], [2]]\n[[1, 2], [3, 4]]\n[[1, 2, 3], [4, 5, 6]]\n[[1, 2], [3, 4], [5, 6]]\n[[1, 2, 3], [4, 5, 6], [7, 8, 9]]\n[['a', 'b'], ['c', 'd']]\n"
            "[[0, 0, 0]]\n[[1], [2], [3]]\n[[5, 4], [3, 2]]\n[[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]\n[[7, 7], [7, 7]]\n[[1, 3], [5, 7], [9, 11], [13, 15]]\n[[True, False]]"
        ),
        0.7,
    ),
    Problem(
        "vowel_shift",
        "evol",
        "Modify the cipher so that only vowels move on to the next vowel.",
        "Write `vowel_shift(text)`: every vowel among a, e, i, o, u is replaced by the next one (u by a), keeping upper and lower case; all other characters stay.",
        "def vowel_shift(text):\n    return text.translate(str.maketrans('aeiouAEIOU', 'eiouaEIOUA'))",
        "def vowel_shift(text):\n    out = ''\n    for c in text:\n        at = 'aeiou'.find(c.lower()) if c else -1\n        if at < 0:\n            out += c\n        else:\n"
        "            n = 'aeiou'[(at + 1) % 5]\n            out += n.upper() if c.isupper() else n\n    return out",
        (
            "def vowel_shift(text):\n    for a, b in ('ae', 'ei', 'io', 'ou', 'ua'):\n        text = text.replace(a, b)\n    return text",
            "def vowel_shift(text):\n    return text.translate(str.maketrans('aeiou', 'eioua'))",
        ),
        _calls(
            "''\n'a'\n'e'\n'u'\n'bcd'\n'hello'\n'AEIOU'\n'Queue'\n'sky'\n'Ursula'\n'aaa'\n'Otto and Ida'\n'x-y-z'\n'UNIX'\n'education'\n'123'"
        ),
        0.35,
    ),
    Problem(
        "longest_climb",
        "evol",
        "Given the list of heights, report the longest climb instead of the maximum.",
        "Write `longest_climb(heights)` that returns the length (number of elements) of the longest run of consecutive elements in which each is larger than the one before. An empty list gives 0.",
        "def longest_climb(heights):\n    best = run = 0\n    before = None\n    for h in heights:\n        run = run + 1 if before is not None and h > before else 1\n        best = max(best, run)\n        before = h\n    return best",
        "def longest_climb(heights):\n    best = 0\n    for i in range(len(heights)):\n        j = i + 1\n        while j < len(heights) and heights[j] > heights[j - 1]:\n            j += 1\n        best = max(best, j - i)\n    return best",
        (
            "def longest_climb(heights):\n    best = run = 0\n    for a, b in zip(heights, heights[1:]):\n        run = run + 1 if b > a else 0\n        best = max(best, run)\n    return best",
            "def longest_climb(heights):\n    best = run = 1\n    for a, b in zip(heights, heights[1:]):\n        run = run + 1 if b >= a else 1\n        best = max(best, run)\n    return best",
        ),
        _calls(
            "[]\n[1]\n[1, 2]\n[2, 1]\n[1, 1]\n[1, 2, 3]\n[3, 2, 1]\n[1, 2, 2, 3]\n[5, 1, 2, 3, 0]\n[-3, -2, -1]\n[1, 3, 5, 4, 7]\n[2, 2, 2]\n[1, 2, 1, 2, 3]\n[9, 8, 9]\n[0, 10, 20, 30]\n[4, 5, 1, 2]"
        ),
        0.5,
    ),
    Problem(
        "parse_query",
        "evol",
        "Write a better parser for the part of a web address after the question mark.",
        "Write `parse_query(text)`: `text` looks like 'a=1&b=2'. Return a dict from names to lists of values in order. A name without '=' gets the value ''. Empty parts are ignored.",
        "def parse_query(text):\n    out = {}\n    for part in text.split('&'):\n        if part:\n            name, _, value = part.partition('=')\n            out.setdefault(name, []).append(value)\n    return out",
        "from collections import defaultdict\n\ndef parse_query(text):\n    out = defaultdict(list)\n    for part in filter(None, text.split('&')):\n        name, *value = part.split('=', 1)\n        out[name].append(value[0] if value else '')\n    return dict(out)",
        (
            "def parse_query(text):\n    return dict(part.split('=') for part in text.split('&'))",
            "def parse_query(text):\n    out = {}\n    for part in text.split('&'):\n        if '=' in part:\n            name, value = part.split('=', 1)\n            out.setdefault(name, []).append(value)\n    return out",
        ),
        _calls(
            "''\n'a=1'\n'a=1&b=2'\n'a=1&a=2'\n'a'\n'a='\n'a&b'\n'&a=1'\n'a=1&'\n'a=b=c'\n'x=1&&y=2'\n'q=hello world'\n'a=1&b=&a=3'\n'n=0'\n'k=v&k=v'\n'=1'"
        ),
        0.6,
    ),
    Problem(
        "count_change",
        "evol",
        "Make the coin problem count the ways instead of the coins.",
        "Write `count_change(amount, coins)` that returns in how many ways `amount` can be paid with any number of each of the distinct positive `coins` (order does not matter).",
        "def count_change(amount, coins):\n    ways = [1] + [0] * amount\n    for coin in coins:\n        for a in range(coin, amount + 1):\n            ways[a] += ways[a - coin]\n    return ways[amount]",
        "def count_change(amount, coins):\n    if amount == 0:\n        return 1\n    if amount < 0 or not coins:\n        return 0\n    return count_change(amount - coins[0], coins) + count_change(amount, coins[1:])",
        (
            "def count_change(amount, coins):\n    ways = [1] + [0] * amount\n    for a in range(1, amount + 1):\n        for coin in coins:\n            if coin <= a:\n                ways[a] += ways[a - coin]\n    return ways[amount]",
            "def count_change(amount, coins):\n    count = 0\n    for coin in sorted(coins, reverse=True):\n        count += amount // coin\n        amount %= coin\n    return count",
        ),
        _calls(
            "0, [1]\n1, [1]\n5, [1, 2]\n4, [1, 2, 3]\n10, [2, 5, 3, 6]\n3, [2]\n7, []\n10, [10]\n12, [1, 5, 10]\n6, [1, 2, 3]\n11, [5, 2]\n8, [4, 2]\n20, [1, 5, 10]\n2, [1, 2]\n9, [3]\n5, [10]"
        ),
        0.65,
    ),
    Problem(
        "rotate_grid",
        "oss",
        "A game stores its board as a list of strings; turning the device turns the board by a quarter.",
        "Write `rotate_grid(rows)`: `rows` is a list of strings of equal length. Return the list of strings of the board turned clockwise by 90 degrees.",
        "def rotate_grid(rows):\n    return [''.join(column) for column in zip(*rows[::-1])]",
        "def rotate_grid(rows):\n    if not rows:\n        return []\n    return [''.join(rows[r][c] for r in range(len(rows) - 1, -1, -1)) for c in range(len(rows[0]))]",
        (
            "def rotate_grid(rows):\n    return [''.join(column) for column in zip(*rows)]",
            "def rotate_grid(rows):\n    return [''.join(column) for column in zip(*rows)][::-1]",
        ),
        _calls(
            "[]\n['a']\n['ab']\n['a', 'b']\n['ab', 'cd']\n['abc', 'def']\n['ab', 'cd', 'ef']\n['abc', 'def', 'ghi']\n['..', '##']\n['x.x']\n['1', '2', '3']\n['aa', 'aa']\n['#.', '.#']\n['1234', '5678']\n['  ', 'ab']\n['q']"
        ),
        0.45,
    ),
    Problem(
        "inventory_low",
        "oss",
        "An inventory module lists the articles that must be ordered again.",
        "Write `inventory_low(stock, minimum)`: `stock` is a dict from article names to amounts. Return the sorted list of names whose amount is below `minimum`.",
        "def inventory_low(stock, minimum):\n    return sorted(name for name, amount in stock.items() if amount < minimum)",
        "def inventory_low(stock, minimum):\n    low = [n for n in stock if stock[n] < minimum]\n    low.sort()\n    return low",
        (
            "def inventory_low(stock, minimum):\n    return [name for name, amount in stock.items() if amount < minimum]",
            "def inventory_low(stock, minimum):\n    return sorted(name for name, amount in stock.items() if amount <= minimum)",
        ),
        _calls(
            "{}, 1\n{'a': 0}, 1\n{'a': 1}, 1\n{'b': 0, 'a': 0}, 1\n{'x': 5, 'y': 2}, 3\n{'x': 5, 'y': 2}, 10\n{'nut': 3, 'bolt': 9}, 0\n{'c': 1, 'b': 2, 'a': 3}, 3\n{'z': -1}, 0\n{'a': 2, 'b': 2}, 2\n"
            "{'pen': 10, 'ink': 1, 'cup': 4}, 5\n{'k': 100}, 100\n{'k': 99}, 100\n{'b': 1, 'a': 5}, 4\n{'d': 0, 'c': 0, 'e': 9}, 1\n{'u': 7, 'v': 6}, 7"
        ),
        0.3,
    ),
    Problem(
        "clean_phone",
        "oss",
        "A contact importer brings telephone numbers into one form.",
        "Write `clean_phone(text)`: remove everything but digits; if the rest has 11 digits and starts with 1, drop that 1; return the digits as 'XXX-XXX-XXXX' if exactly ten are left, otherwise return None.",
        "def clean_phone(text):\n    digits = ''.join(c for c in text if c.isdigit())\n    if len(digits) == 11 and digits[0] == '1':\n        digits = digits[1:]\n    if len(digits) != 10:\n        return None\n    return f'{digits[:3]}-{digits[3:6]}-{digits[6:]}'",
        "import re\n\ndef clean_phone(text):\n    found = re.fullmatch(r'1?(\\d{3})(\\d{3})(\\d{4})', re.sub(r'\\D', '', text))\n    return '-'.join(found.groups()) if found else None",
        (
            "def clean_phone(text):\n    digits = ''.join(c for c in text if c.isdigit())\n    return f'{digits[:3]}-{digits[3:6]}-{digits[6:]}' if len(digits) == 10 else None",
            "def clean_phone(text):\n    digits = text.replace('-', '').replace(' ', '')\n    if len(digits) == 11:\n        digits = digits[1:]\n    if len(digits) != 10:\n        return None\n    return digits[:3] + '-' + digits[3:6] + '-' + digits[6:]",
        ),
        _calls(
            "'5551234567'\n'(555) 123-4567'\n'1-555-123-4567'\n'555 123 4567'\n'15551234567'\n'25551234567'\n''\n'123'\n'555.123.4567'\n'+1 (555) 123 4567'\n'phone'\n'55512345678'\n'1555123456'\n'0001112222'\n'5 5 5 1 2 3 4 5 6 7'\n'1-1-1'"
        ),
        0.5,
    ),
    Problem(
        "vote_winner",
        "oss",
        "A polling widget shows who leads; ties go to the earliest name in the alphabet.",
        "Write `vote_winner(votes)`: `votes` is a list of names. Return the name with most votes; among equals the alphabetically first. An empty list gives None.",
        "def vote_winner(votes):\n    if not votes:\n        return None\n    return min(set(votes), key=lambda name: (-votes.count(name), name))",
        "from collections import Counter\n\ndef vote_winner(votes):\n    counted = Counter(votes)\n    top = max(counted.values(), default=0)\n    return min((n for n in counted if counted[n] == top), default=None)",
        (
            "from collections import Counter\n\ndef vote_winner(votes):\n    return Counter(votes).most_common(1)[0][0]",
            "def vote_winner(votes):\n    return max(sorted(set(votes), reverse=True), key=votes.count) if votes else None",
        ),
        _calls(
            "[]\n['a']\n['a', 'b']\n['b', 'a']\n['a', 'b', 'b']\n['z', 'z', 'a']\n['x', 'y', 'x', 'y']\n['y', 'x', 'y', 'x']\n['ann', 'bob', 'ann']\n['c', 'b', 'a']\n['m', 'n', 'n', 'm', 'k']\n['q', 'q', 'q']\n['Zoe', 'adam']\n['d', 'd', 'c', 'c', 'b']\n['one']\n['b', 'b', 'a', 'a', 'a']"
        ),
        0.45,
    ),
    Problem(
        "path_depth",
        "oss",
        "A file browser needs to know how deep a path lies once dots are resolved.",
        "Write `path_depth(path)`: walk through the parts of `path` separated by '/'. '' and '.' do nothing, '..' goes up one (never above the root), any other part goes down one. Return the depth at the end.",
        "def path_depth(path):\n    depth = 0\n    for part in path.split('/'):\n        if part == '..':\n            depth = max(0, depth - 1)\n        elif part not in ('', '.'):\n            depth += 1\n    return depth",
        "def path_depth(path):\n    stack = []\n    for part in path.split('/'):\n        if part == '..':\n            if stack:\n                stack.pop()\n        elif part and part != '.':\n            stack.append(part)\n    return len(stack)",
        (
            "def path_depth(path):\n    return path.count('/') - 2 * path.count('..')",
            "def path_depth(path):\n    depth = 0\n    for part in path.split('/'):\n        if part == '..':\n            depth -= 1\n        elif part not in ('', '.'):\n            depth += 1\n    return depth",
        ),
        _calls(
            "''\n'/'\n'a'\n'a/b'\n'/a/b/c'\n'a/../b'\n'../a'\n'../../x/y'\n'./a/.'\n'a//b'\n'a/b/../..'\n'...'\n'a/.b'\n'/..'\n'x/y/z/..'\n'./././'"
        ),
        0.4,
    ),
    Problem(
        "mask_card",
        "oss",
        "Receipts must show only the end of a card number.",
        "Write `mask_card(number)`: `number` is a string that may hold spaces. Return it without spaces, with all but the last four characters replaced by '*'. Shorter numbers stay as they are.",
        "def mask_card(number):\n    number = number.replace(' ', '')\n    return '*' * (len(number) - 4) + number[-4:]",
        "def mask_card(number):\n    digits = ''.join(number.split(' '))\n    return ''.join('*' if i < len(digits) - 4 else d for i, d in enumerate(digits))",
        (
            "def mask_card(number):\n    return '*' * (len(number) - 4) + number[-4:]",
            "def mask_card(number):\n    number = number.replace(' ', '')\n    return '************' + number[-4:]",
        ),
        _calls(
            "'1234567812345678'\n'1234 5678 1234 5678'\n'1234'\n'123'\n''\n'12345'\n'1 2 3 4 5'\n'0000 0000'\n'9876543210'\n' 1234 '\n'4111 1111 1111 1111'\n'55555'\n'1 2'\n'371449635398431'\n'12 34'\n'99999999'"
        ),
        0.4,
    ),
    Problem(
        "moving_average",
        "oss",
        "A dashboard smooths a series of whole numbers.",
        "Write `moving_average(values, width)` that returns the list of averages of each `width` consecutive values, rounded to 2 decimals. If there are fewer than `width` values, return [].",
        "def moving_average(values, width):\n    return [round(sum(values[i:i + width]) / width, 2) for i in range(len(values) - width + 1)]",
        "def moving_average(values, width):\n    out = []\n    i = 0\n    while i + width <= len(values):\n        total = 0\n        for v in values[i:i + width]:\n            total += v\n        out.append(round(total / width, 2))\n        i += 1\n    return out",
        (
            "def moving_average(values, width):\n    return [round(sum(values[i:i + width]) / width, 2) for i in range(len(values) - width)]",
            "def moving_average(values, width):\n    return [sum(values[i:i + width]) // width for i in range(len(values) - width + 1)]",
        ),
        _calls(
            "[], 1\n[1], 1\n[1], 2\n[1, 2], 2\n[1, 2, 3], 2\n[1, 2, 4], 3\n[10, 20, 30, 40], 2\n[5, 5, 5], 1\n[0, 1], 2\n[1, 0, 0], 3\n[-1, 1], 2\n[7, 8, 9, 10, 11], 5\n[100, 0, 50], 2\n[2, 4, 8], 2\n[3, 3, 4], 3\n[1, 2, 3, 4], 4"
        ),
        0.4,
    ),
    Problem(
        "diff_keys",
        "oss",
        "A configuration tool says which settings differ between two files.",
        "Write `diff_keys(old, new)` for two dicts: return the sorted list of keys that are in only one of them or whose values differ.",
        "def diff_keys(old, new):\n    missing = object()\n    return sorted(k for k in set(old) | set(new) if old.get(k, missing) != new.get(k, missing))",
        "def diff_keys(old, new):\n    out = [k for k in old if k not in new or old[k] != new[k]]\n    out += [k for k in new if k not in old]\n    return sorted(out)",
        (
            "def diff_keys(old, new):\n    return sorted(k for k in old if old[k] != new.get(k))",
            "def diff_keys(old, new):\n    return sorted(k for k in set(old) | set(new) if old.get(k) != new.get(k))",
        ),
        _calls(
            "{}, {}\n{'a': 1}, {'a': 1}\n{'a': 1}, {'a': 2}\n{'a': 1}, {}\n{}, {'b': 1}\n{'a': None}, {}\n{}, {'a': None}\n{'x': 1, 'y': 2}, {'y': 3, 'z': 4}\n{'b': 1, 'a': 1}, {}\n{'k': [1]}, {'k': [1]}\n"
            "{'k': 0}, {'k': False}\n{'m': 'x'}, {'m': 'y'}\n{'a': 1, 'b': 2}, {'a': 1, 'b': 3}\n{'q': 1}, {'q': 1, 'p': 2}\n{'c': 3}, {'d': 3}\n{'a': {}}, {'a': {}}"
        ),
        0.5,
    ),
    Problem(
        "wrap_words",
        "oss",
        "A terminal tool breaks messages into lines.",
        "Write `wrap_words(text, width)`: split `text` at white space and put words into lines joined by single spaces, as many as fit into `width` characters; a longer word stands alone. Return the list of lines.",
        "def wrap_words(text, width):\n    lines = []\n    for word in text.split():\n        if lines and len(lines[-1]) + 1 + len(word) <= width:\n            lines[-1] += ' ' + word\n        else:\n            lines.append(word)\n    return lines",
        "def wrap_words(text, width):\n    lines, line = [], ''\n    for word in text.split():\n        longer = f'{line} {word}' if line else word\n        if line and len(longer) > width:\n            lines.append(line)\n            line = word\n        else:\n            line = longer\n    return lines + [line] if line else lines",
        (
            "import textwrap\n\ndef wrap_words(text, width):\n    return textwrap.wrap(text, width)",
            "def wrap_words(text, width):\n    lines = ['']\n    for word in text.split():\n        if len(lines[-1]) + len(word) <= width:\n            lines[-1] += ' ' + word\n        else:\n            lines.append(word)\n    return [line.strip() for line in lines]",
        ),
        _calls(
            "'', 5\n'a', 1\n'a b', 1\n'a b', 3\n'hello world', 5\n'hello world', 11\n'hello world', 10\n'a bb ccc', 4\n'longword a', 3\n'a longword b', 3\n'  a   b ', 3\n'one two three four', 9\n'x y z', 5\n'aaaa bbbb', 4\n'to be or not', 6\n'abc', 2"
        ),
        0.55,
    ),
    Problem(
        "version_newer",
        "oss",
        "An updater compares version strings.",
        "Write `version_newer(a, b)`: both are strings such as '1.10.2'. Return True if `a` is a later version than `b`. Missing parts count as 0.",
        "def version_newer(a, b):\n    x, y = ([int(p) for p in v.split('.')] for v in (a, b))\n    width = max(len(x), len(y))\n    return x + [0] * (width - len(x)) > y + [0] * (width - len(y))",
        "from itertools import zip_longest\n\ndef version_newer(a, b):\n    for x, y in zip_longest(a.split('.'), b.split('.'), fillvalue='0'):\n        if int(x) != int(y):\n            return int(x) > int(y)\n    return False",
        (
            "def version_newer(a, b):\n    return a > b",
            "def version_newer(a, b):\n    return [int(p) for p in a.split('.')] > [int(p) for p in b.split('.')]",
        ),
        _calls(
            "'1', '1'\n'2', '1'\n'1', '2'\n'1.0', '1'\n'1', '1.0'\n'1.10', '1.9'\n'1.9', '1.10'\n'1.0.1', '1'\n'1', '1.0.1'\n'10.0', '9.9'\n'0.0.0', '0'\n'1.2.3', '1.2.3'\n'1.2.4', '1.2.3'\n'3.0', '3.0.0.0'\n'2.5', '2.4.9'\n'01.2', '1.2'"
        ),
        0.5,
    ),
    Problem(
        "group_by_first",
        "oss",
        "An index page groups entries by their first letter.",
        "Write `group_by_first(words)` that returns a dict from the lower-case first letter to the list of words with it, in their order. Empty words are left out.",
        "def group_by_first(words):\n    groups = {}\n    for word in words:\n        if word:\n            groups.setdefault(word[0].lower(), []).append(word)\n    return groups",
        "def group_by_first(words):\n    words = [w for w in words if w]\n    return {k: [w for w in words if w[0].lower() == k] for k in {w[0].lower() for w in words}}",
        (
            "def group_by_first(words):\n    groups = {}\n    for word in words:\n        groups.setdefault(word[0], []).append(word)\n    return groups",
            "from itertools import groupby\n\ndef group_by_first(words):\n    return {k: list(g) for k, g in groupby(filter(None, words), key=lambda w: w[0].lower())}",
        ),
        _calls(
            "[]\n['a']\n['a', 'b']\n['ab', 'ac']\n['Ab', 'ac']\n['', 'x']\n['']\n['b', 'a', 'b']\n['One', 'two', 'orange']\n['z']\n['1a', '1b']\n['aa', 'ba', 'ab']\n['Q', 'q']\n['tea', '', 'Tom', 'ant']\n['x', 'y', 'x', 'y']\n['é', 'e']"
        ),
        0.45,
    ),
    Problem(
        "bill_split",
        "oss",
        "An expense app splits a bill in cents without losing one.",
        "Write `bill_split(cents, people)`: return a list of `people` integers that add up to `cents`, as equal as possible, the larger ones first.",
        "def bill_split(cents, people):\n    share, left = divmod(cents, people)\n    return [share + 1] * left + [share] * (people - left)",
        "def bill_split(cents, people):\n    return [cents // people + (1 if i < cents % people else 0) for i in range(people)]",
        (
            "def bill_split(cents, people):\n    return [cents // people] * people",
            "def bill_split(cents, people):\n    share = round(cents / people)\n    return [share] * (people - 1) + [cents - share * (people - 1)]",
        ),
        _calls(
            "0, 1\n10, 1\n10, 2\n10, 3\n11, 3\n1, 4\n0, 3\n100, 7\n99, 10\n5, 5\n6, 5\n1000, 3\n7, 2\n3, 8\n250, 4\n17, 6"
        ),
        0.4,
    ),
    Problem(
        "digits_product",
        "stack_python_fns",
        "Multiply the digits of a number that are not zero.",
        "Write `digits_product(number)` that returns the product of all non-zero digits of a non-negative integer. For 0 return 0.",
        "def digits_product(number):\n    if number == 0:\n        return 0\n    product = 1\n    for digit in str(number):\n        if digit != '0':\n            product *= int(digit)\n    return product",
        "from math import prod\n\ndef digits_product(number):\n    return prod(int(d) for d in str(number) if d != '0') if number else 0",
        (
            "def digits_product(number):\n    product = 1\n    for digit in str(number):\n        product *= int(digit)\n    return product",
            "def digits_product(number):\n    product = 1\n    while number:\n        product *= number % 10 or 1\n        number //= 10\n    return product",
        ),
        _calls("0\n1\n5\n10\n12\n20\n105\n99\n111\n123\n1000\n909\n2222\n70\n345\n9000001"),
        0.4,
    ),
    Problem(
        "common_prefix",
        "stack_python_fns",
        "Return the longest common prefix of the strings.",
        "Write `common_prefix(words)` that returns the longest string with which every word in the list begins; '' for an empty list.",
        "def common_prefix(words):\n    if not words:\n        return ''\n    low, high = min(words), max(words)\n    for i, c in enumerate(low):\n        if high[i] != c:\n            return low[:i]\n    return low",
        "import os\n\ndef common_prefix(words):\n    return os.path.commonprefix(words)",
        (
            "def common_prefix(words):\n    prefix = words[0]\n    for word in words:\n        while not word.startswith(prefix):\n            prefix = prefix[:-1]\n    return prefix",
            "def common_prefix(words):\n    out = ''\n    for letters in zip(*words):\n        if len(set(letters)) == 1:\n            out += letters[0]\n    return out",
        ),
        _calls(
            "[]\n['a']\n['a', 'b']\n['ab', 'ac']\n['abc', 'abc']\n['', 'a']\n['flower', 'flow', 'flight']\n['dog', 'car']\n['aa', 'a']\n['xaz', 'xbz']\n['pre', 'prefix', 'present']\n['A', 'a']\n['1', '12', '123']\n['abcd', 'abed']\n['same', 'same', 'same']\n['b', '']"
        ),
        0.45,
    ),
    Problem(
        "to_base",
        "stack_python_fns",
        "Convert an integer to a string in another base.",
        "Write `to_base(number, base)` that returns the representation of a non-negative integer in `base` (2 to 16) with lower-case digits.",
        "def to_base(number, base):\n    digits = '0123456789abcdef'\n    out = ''\n    while True:\n        number, d = divmod(number, base)\n        out = digits[d] + out\n        if number == 0:\n            return out",
        "def to_base(number, base):\n    head = to_base(number // base, base) if number >= base else ''\n    return head + '0123456789abcdef'[number % base]",
        (
            "def to_base(number, base):\n    out = ''\n    while number:\n        out = '0123456789abcdef'[number % base] + out\n        number //= base\n    return out",
            "def to_base(number, base):\n    out = ''\n    while number > 0:\n        out = str(number % base) + out\n        number //= base\n    return out or '0'",
        ),
        _calls(
            "0, 2\n1, 2\n2, 2\n10, 2\n255, 16\n255, 10\n8, 8\n7, 8\n100, 3\n31, 16\n16, 16\n12, 12\n11, 12\n81, 9\n0, 16\n1024, 4"
        ),
        0.45,
    ),
    Problem(
        "flatten",
        "stack_python_fns",
        "Flatten nested lists.",
        "Write `flatten(items)` that returns a flat list of all elements of an arbitrarily nested list, in order. Strings are elements, not lists.",
        "def flatten(items):\n    out = []\n    for item in items:\n        if isinstance(item, list):\n            out.extend(flatten(item))\n        else:\n            out.append(item)\n    return out",
        "def flatten(items):\n    stack, out = list(items)[::-1], []\n    while stack:\n        item = stack.pop()\n        if isinstance(item, list):\n            stack.extend(item[::-1])\n        else:\n            out.append(item)\n    return out",
        (
            "def flatten(items):\n    return [x for item in items for x in (item if isinstance(item, list) else [item])]",
            "def flatten(items):\n    out = []\n    for item in items:\n        try:\n            out += flatten(item)\n        except TypeError:\n            out.append(item)\n    return out",
        ),
        _calls(
            "[]\n[1]\n[1, 2]\n[[1], 2]\n[1, [2, [3]]]\n[[], []]\n[[[[4]]]]\n['a', ['b']]\n['ab', ['cd', ['ef']]]\n[1, [2, 3], [4, [5, 6]]]\n[None, [None]]\n[[1, 2], [3, 4]]\n[[True], False]\n[0, [[0]]]\n[[['x']], 'y']\n[1.5, [2.5]]"
        ),
        0.5,
    ),
    Problem(
        "caesar",
        "stack_python_fns",
        "Shift letters of the alphabet.",
        "Write `caesar(text, shift)` that shifts every letter a-z and A-Z by `shift` places around the alphabet and leaves everything else.",
        "def caesar(text, shift):\n    out = []\n    for c in text:\n        if 'a' <= c <= 'z':\n            c = chr((ord(c) - 97 + shift) % 26 + 97)\n        elif 'A' <= c <= 'Z':\n            c = chr((ord(c) - 65 + shift) % 26 + 65)\n        out.append(c)\n    return ''.join(out)",
        "import string\n\ndef caesar(text, shift):\n    low, up, k = string.ascii_lowercase, string.ascii_uppercase, shift % 26\n    return text.translate(str.maketrans(low + up, low[k:] + low[:k] + up[k:] + up[:k]))",
        (
            "def caesar(text, shift):\n    return ''.join(chr(ord(c) + shift) if c.isalpha() else c for c in text)",
            "def caesar(text, shift):\n    return ''.join(chr((ord(c) - 97 + shift) % 26 + 97) if c.isalpha() else c for c in text)",
        ),
        _calls(
            "'', 3\n'abc', 1\n'xyz', 3\n'ABC', 1\n'Hello, World!', 5\n'a', 26\n'a', -1\n'Z', 1\n'123', 4\n'mixed Case', 13\n'a', 27\n'b', -27\n'zZ', 2\n'n', 0\n'Python 3', 7\n'QED', 100"
        ),
        0.5,
    ),
    Problem(
        "primes_below",
        "stack_python_fns",
        "Sieve of Eratosthenes.",
        "Write `primes_below(limit)` that returns the list of all prime numbers smaller than `limit`.",
        "def primes_below(limit):\n    sieve = [True] * max(limit, 2)\n    sieve[0] = sieve[1] = False\n    for i in range(2, int(max(limit, 0) ** 0.5) + 1):\n        if sieve[i]:\n            for j in range(i * i, limit, i):\n                sieve[j] = False\n    return [i for i in range(max(limit, 0)) if sieve[i]]",
        "def primes_below(limit):\n    primes = []\n    for n in range(2, limit):\n        if all(n % p for p in primes):\n            primes.append(n)\n    return primes",
        (
            "def primes_below(limit):\n    return [n for n in range(2, limit + 1) if all(n % d for d in range(2, n))]",
            "def primes_below(limit):\n    return [n for n in range(1, limit) if all(n % d for d in range(2, n))]",
        ),
        _calls("0\n1\n2\n3\n4\n5\n10\n11\n12\n20\n30\n31\n32\n50\n-5\n8"),
        0.35,
    ),
    Problem(
        "transpose",
        "stack_python_fns",
        "Transpose a table given as text.",
        "Write `transpose(text)`: lines are separated by newlines, cells by commas, and all lines have equally many cells. Return the text of the transposed table. An empty text stays empty.",
        "def transpose(text):\n    rows = [line.split(',') for line in text.split('\\n')]\n    return '\\n'.join(','.join(column) for column in zip(*rows))",
        "def transpose(text):\n    if not text:\n        return ''\n    rows = [line.split(',') for line in text.splitlines()]\n    return '\\n'.join(','.join(r[i] for r in rows) for i in range(len(rows[0])))",
        (
            "def transpose(text):\n    return '\\n'.join(line[::-1] for line in text.split('\\n'))",
            "def transpose(text):\n    rows = [line.split(',') for line in text.split('\\n')]\n    return '\\n'.join(''.join(column) for column in zip(*rows))",
        ),
        _calls(
            r"''"
            + "\n'a'\n'a,b'\n'a\\nb'\n'a,b\\nc,d'\n'1,2,3\\n4,5,6'\n'x,y,z'\n'p\\nq\\nr'\n'1,1\\n1,1'\n'ab,cd\\nef,gh'\n',\\n,'\n'a, b\\nc, d'\n'1,2\\n3,4\\n5,6'\n'k,v\\nx,1'\n'0\\n0'\n'long,cells\\nare,fine'"
        ),
        0.4,
    ),
    Problem(
        "find_peak",
        "stack_python_fns",
        "Indices of local maxima.",
        "Write `find_peak(values)` that returns the list of indices i, neither first nor last, with values[i-1] < values[i] > values[i+1].",
        "def find_peak(values):\n    return [i for i in range(1, len(values) - 1) if values[i - 1] < values[i] > values[i + 1]]",
        "def find_peak(values):\n    peaks = []\n    for i, (a, b, c) in enumerate(zip(values, values[1:], values[2:]), 1):\n        if a < b and b > c:\n            peaks.append(i)\n    return peaks",
        (
            "def find_peak(values):\n    return [i for i in range(len(values) - 1) if values[i - 1] < values[i] > values[i + 1]]",
            "def find_peak(values):\n    return [i for i in range(1, len(values) - 1) if values[i - 1] <= values[i] >= values[i + 1]]",
        ),
        _calls(
            "[]\n[1]\n[1, 2]\n[1, 2, 1]\n[2, 1, 2]\n[1, 2, 2, 1]\n[1, 3, 2, 4, 1]\n[3, 2, 1]\n[1, 2, 3]\n[0, 5, 0, 5, 0]\n[-1, 0, -1]\n[5, 1, 5, 1]\n[1, 1, 1]\n[2, 9, 3, 9]\n[4, 6, 5]\n[1, 2, 1, 2, 1, 2]"
        ),
        0.4,
    ),
    Problem(
        "seconds_to_text",
        "stack_python_fns",
        "Format a duration.",
        "Write `seconds_to_text(seconds)` that returns a duration as 'H:MM:SS' if it is at least one hour and 'M:SS' otherwise.",
        "def seconds_to_text(seconds):\n    minutes, s = divmod(seconds, 60)\n    hours, m = divmod(minutes, 60)\n    return f'{hours}:{m:02}:{s:02}' if hours else f'{m}:{s:02}'",
        "def seconds_to_text(seconds):\n    h, m, s = seconds // 3600, seconds // 60 % 60, seconds % 60\n    if h > 0:\n        return '%d:%02d:%02d' % (h, m, s)\n    return '%d:%02d' % (m, s)",
        (
            "def seconds_to_text(seconds):\n    return f'{seconds // 60}:{seconds % 60:02}'",
            "def seconds_to_text(seconds):\n    h, m, s = seconds // 3600, seconds // 60 % 60, seconds % 60\n    return f'{h}:{m}:{s}' if h else f'{m}:{s}'",
        ),
        _calls("0\n1\n9\n10\n59\n60\n61\n600\n3599\n3600\n3601\n3661\n7325\n36000\n86399\n100"),
        0.45,
    ),
    Problem(
        "unique_sorted",
        "stack_python_fns",
        "Merge two sorted lists without duplicates.",
        "Write `unique_sorted(a, b)`: both lists are sorted. Return one sorted list with each value once.",
        "def unique_sorted(a, b):\n    return sorted(set(a) | set(b))",
        "def unique_sorted(a, b):\n    out, i, j = [], 0, 0\n    while i < len(a) or j < len(b):\n        if j == len(b) or (i < len(a) and a[i] <= b[j]):\n            x = a[i]\n            i += 1\n        else:\n            x = b[j]\n            j += 1\n        if not out or out[-1] != x:\n            out.append(x)\n    return out",
        (
            "def unique_sorted(a, b):\n    return sorted(a + b)",
            "def unique_sorted(a, b):\n    out = list(a)\n    for x in b:\n        if x not in out:\n            out.append(x)\n    return out",
        ),
        _calls(
            "[], []\n[1], []\n[], [1]\n[1], [1]\n[1, 2], [3]\n[3], [1, 2]\n[1, 3], [2, 4]\n[1, 1], [1]\n[0, 5], [5, 9]\n[-2, 0], [-1]\n[1, 2, 3], [1, 2, 3]\n[2, 2], [3, 3]\n['a'], ['b']\n[10], [1, 100]\n[1, 4, 6], [2, 4, 8]\n[7, 7, 7], []"
        ),
        0.35,
    ),
    Problem(
        "score_hand",
        "stack_python_fns",
        "Value of a hand of cards in the game of twenty-one.",
        "Write `score_hand(cards)`: `cards` is a list of strings '2' to '10', 'J', 'Q', 'K', 'A'. Figures count 10; an ace counts 11, or 1 where 11 would take the hand over 21. Return the best value.",
        "def score_hand(cards):\n    total = sum(11 if c == 'A' else 10 if c in 'JQK' else int(c) for c in cards)\n    aces = cards.count('A')\n    while total > 21 and aces:\n        total -= 10\n        aces -= 1\n    return total",
        "def score_hand(cards):\n    total = sum(1 if c == 'A' else 10 if c in ('J', 'Q', 'K') else int(c) for c in cards)\n    return total + 10 if 'A' in cards and total <= 11 else total",
        (
            "def score_hand(cards):\n    values = {'J': 10, 'Q': 10, 'K': 10, 'A': 11}\n    return sum(values.get(c) or int(c) for c in cards)",
            "def score_hand(cards):\n    total = 0\n    for c in cards:\n        if c == 'A':\n            total += 11 if total + 11 <= 21 else 1\n        else:\n            total += 10 if c in 'JQK' else int(c)\n    return total",
        ),
        _calls(
            "[]\n['2']\n['10', 'J']\n['A']\n['A', 'K']\n['A', 'A']\n['A', '9', '5']\n['K', 'Q', 'A']\n['A', 'A', '9']\n['5', 'A', '6']\n['K', 'Q', 'J']\n['A', 'A', 'A', 'A']\n['7', '7', '7']\n['A', '2', '3', 'K']\n['9', 'A']\n['10', '5', 'A', 'A']"
        ),
        0.6,
    ),
)
