"""What text a reward model wants: a format and a template, both with names, kept in the model's own config.

The *format* says what question and answer are:

| format | question | answer |
|---|---|---|
| `pair-1` | the published pairs' instruction: a docstring with the question and one test | the program in its frame |
| `raw` | the question alone | the program alone |

AceCodeRM was trained on the first and is scored with the second in its own example: the two are not the same text, and
scores differ. The *template* says how one text is made of the two:

| template | text |
|---|---|
| `chat` | the tokenizer's chat template around a user's and an assistant's message |
| `plain` | question, answer, end token, one after the other |

A text's score is read at its last token, so it matters that training and scoring end it alike: both come from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from acedata._errors import BadInput
from acedata._extract import extract_code
from acedata._formats import answer_text, pair_question, render
from acetrain._quiet import told

FORMATS = ("pair-1", "raw")
TEMPLATES = ("chat", "plain")
KEY = "acetrain_reward"
"""Under this name a model's config keeps its `Form` and its bias."""

Message = Mapping[str, str]
Conversation = str | Sequence[Message]


@dataclass(frozen=True, slots=True)
class Form:
    """The text a reward model wants.

    Attributes:
        format: one of FORMATS.
        template: one of TEMPLATES.
    """

    format: str = "raw"
    template: str = "chat"

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise BadInput(
                f"there is no format {self.format!r} of a reward model; there are {', '.join(FORMATS)}"
            )
        if self.template not in TEMPLATES:
            raise BadInput(f"there is no template {self.template!r}; there are {', '.join(TEMPLATES)}")

    def to_dict(self) -> dict[str, str]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Form:
        """Raises BadInput where the values name what does not exist."""
        return cls(str(values.get("format", "raw")), str(values.get("template", "chat")))

    def of_pair(self, instruction: str, answer: str, where: str) -> tuple[str, str]:
        """Question and answer of a published pair's row, in this format.

        Raises:
            BadInput: naming the row: it is not in the published frame, and another was asked for.
        """
        if self.format == "pair-1":
            return instruction, answer
        found = pair_question(instruction)
        if found is None:
            raise BadInput(
                f"{where}: the instruction is not in the format pair-1, so its question is not known"
            )
        program = extract_code(answer)
        if program is None:
            raise BadInput(f"{where}: the answer holds no program")
        return found[0], program

    def of_program(self, question: str, program: str, tests: Sequence[str] = ()) -> tuple[str, str]:
        """Question and answer of a question and a program, in this format. `pair-1` shows the first test."""
        return render(self.format, question, tests).user, answer_text(self.format, program)


def messages(question: str, answer: str) -> list[Message]:
    """As a chat of two messages."""
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def whole_text(tokenizer: Any, template: str, conversation: Conversation) -> str:
    """The text of a conversation; a str is taken to be one already.

    Raises:
        BadInput: the tokenizer has no chat template, or the messages are none it takes.
    """
    if isinstance(conversation, str):
        return conversation
    if template == "plain":
        return "".join(str(message["content"]) for message in conversation) + (tokenizer.eos_token or "")
    return _in_template(tokenizer, [dict(one) for one in conversation])


def question_text(tokenizer: Any, template: str, question: str) -> str:
    """How the text of a conversation that begins with this question begins."""
    if template == "plain":
        return question
    return _in_template(tokenizer, [{"role": "user", "content": question}], add_generation_prompt=True)


def _in_template(tokenizer: Any, chat: list[dict[str, str]], **options: Any) -> str:
    if not tokenizer.chat_template:
        raise BadInput("the tokenizer has no chat template; the model's template must be plain")
    try:
        return str(tokenizer.apply_chat_template(chat, tokenize=False, **options))
    except Exception as error:  # a template is a program: it raises what it likes
        raise BadInput(f"the tokenizer's chat template does not take it: {told(error)}") from error


def is_text(text: str) -> bool:
    """Whether a str is text that has tokens: half of a surrogate pair, which JSON can hold, is none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


HALF_A_CHARACTER = r"holds half of a surrogate pair (\ud800 to \udfff), which is no character"


def token_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts in which everything special is written out already.

    Raises:
        BadInput: one is no text.
    """
    if not texts:
        return []
    for number, text in enumerate(texts):
        if not is_text(text):
            raise BadInput(f"text {number} {HALF_A_CHARACTER}")
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return ids


def cut(ids: Sequence[int], question: int, limit: int) -> list[int]:
    """At most `limit` of the ids, of which the first `question` are the question.

    The end of the answer goes first, as long as half of the limit is left to it; then the end of the question. The
    released training cut with the same aim; where exactly is its own.
    """
    if len(ids) <= limit:
        return list(ids)
    kept = min(question, max(limit - (len(ids) - question), limit // 2))
    return [*ids[:kept], *ids[question : question + limit - kept]]
