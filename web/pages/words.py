"""Texts that scripts say: they stand in the page, in its language."""

from __future__ import annotations

from textgen.evaluation.options import PARTS
from web.pages.language import _, named


def job_words() -> dict[str, str]:
    """What scripts say of a job that runs; as in `web.pages.job_rows`."""
    return {
        **time_words(),
        **{name: named(name) for name in (*PARTS, "rows")},
        "lines": _("%(done)s of %(total)s lines"),
        "step": _("step %(done)s of %(total)s"),
        "measuring": _("measuring %(part)s"),
        "loss": _("loss %(loss)s nats/token"),
        "rate": _("%(rate)s tokens/s"),
        "left": _("%(time)s left"),
        "rate_name": _("learning rate"),
        "speed_name": _("tokens/s"),
        "at_step": _("after step %(step)s"),
        "training": _("training"),
        "validation": _("validation"),
    }


def playground_words() -> dict[str, str]:
    """What the playground's scripts say."""
    return {
        "writing": _("Writing…"),
        "tokens_written": _("%(count)s tokens"),
        "rate": _("%(rate)s tokens/s"),
        "read": _("%(count)s read"),
        "seed": _("seed %(seed)s"),
        "ended": _("came to its end"),
        "longest": _("max_tokens reached"),
        "stopped": _("stopped"),
        "token": _("“%(text)s”, probability %(percent)s"),
        "instead": _("Instead of “%(text)s”"),
        "end_of_text": _("the end of the text"),
        "line_break": _("line break"),
        "space": _("space"),
        "part": _("%(bytes)s, a part of a character"),
        "taken": _("stands here"),
        "in_a_gap": _("A filled gap has no branches: what follows it is given."),
        "unreachable": _("The service could not be reached. Look whether it runs, then try again."),
        "broken_off": _("The answer broke off. What came of it is kept; continue from here."),
        "signed_out": _("You are no longer signed in. Load the page anew to sign in."),
        "copied": _("Copied"),
        "select_and_copy": _("Press Ctrl+C to copy"),
        "temperature": _("temperature %(value)s"),
    }


def time_words() -> dict[str, str]:
    """How scripts say a length of time."""
    return {
        "seconds": _("%(seconds)s s"),
        "minutes": _("%(minutes)s min %(seconds)s s"),
        "hours": _("%(hours)s h %(minutes)s min"),
    }


def estimate_words() -> dict[str, str]:
    """What is said beside the form of a new training."""
    return {
        **time_words(),
        "about": _("about %(number)s"),
        "when_read": _("known once it is read"),
        "no_answer": _("The service does not answer just now."),
    }


def upload_words() -> dict[str, str]:
    """What is said of an upload."""
    return {
        "uploaded": _("%(done)s of %(total)s MB"),
        "stopped": _("Stopped. Choose the same file again to go on where it was."),
        "goes_on": _("Send it again to go on where it was."),
        "no_answer": _("The service does not answer just now."),
    }


def comparison_words() -> dict[str, str]:
    """What is said of the curves of several trainings."""
    return {**time_words(), "training": _("training"), "validation": _("validation")}
