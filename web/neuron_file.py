"""A neuron as one HTML file, which needs no server and asks for nothing."""

from importlib.resources import files

from markupsafe import Markup

from db.neuron_value import NeuronValue
from web.neuron_view import NeuronView, Shown
from web.rendering import render_part


def neuron_file(value: NeuronValue) -> str:
    """Return a neuron as HTML, with style and script in it; no text of ours ends either."""
    view = NeuronView(value, Shown(), is_file=True)
    style = _own("style.css") + _own("neuron.css")
    script = _own("neuron.js")
    return render_part("neuron_file.html", view=view, style=style, script=script)


def _own(name: str) -> Markup:
    return Markup(files("web").joinpath("static", name).read_text(encoding="utf-8"))
