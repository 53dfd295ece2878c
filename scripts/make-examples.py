"""Makes examples/: simulates a year of a bicycle counter and runs the two notebooks, outputs included.

Usage: .venv/bin/python scripts/make-examples.py
"""

from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
from nbclient import NotebookClient

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def counter() -> pd.DataFrame:
    """Hourly is too much for an example: one row a day, with the gaps and slips of a real counter."""
    rng = np.random.default_rng(20250101)
    day = pd.date_range("2024-01-01", "2024-12-31", name="date")
    season = np.sin(2 * np.pi * (day.day_of_year.to_numpy() - 110) / 366)
    temperature = 10 + 9 * season + rng.normal(0, 3, len(day))
    rain = np.where(rng.random(len(day)) < 0.38, rng.gamma(1.2, 4.0, len(day)), 0.0)
    weekend = day.day_of_week.to_numpy() >= 5
    expected = np.exp(7.1 + 0.032 * temperature - 0.028 * rain - 0.42 * weekend)
    count = rng.poisson(expected * rng.gamma(60, 1 / 60, len(day))).astype(float)
    count[rng.choice(len(day), 9, replace=False)] = np.nan
    count[rng.choice(len(day), 3, replace=False)] = 0
    return pd.DataFrame(
        {"date": day.strftime("%Y-%m-%d"), "count": count, "temperature_c": temperature.round(1), "rain_mm": rain.round(1)}
    )


def notebook(name: str, cells: list[tuple[str, str]]) -> None:
    """Writes and runs one notebook; ids are fixed so that a second run changes little."""
    new = nbformat.v4
    made = [
        (new.new_markdown_cell if kind == "md" else new.new_code_cell)(source.strip("\n"), id=f"{name[:2]}-{i:02d}")
        for i, (kind, source) in enumerate(cells)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}
    document = new.new_notebook(cells=made, metadata=kernel)
    NotebookClient(document, timeout=120, resources={"metadata": {"path": str(EXAMPLES)}}, record_timing=False).execute()
    nbformat.write(document, EXAMPLES / name)


CLEAN = [
    ("md", "# 1. Clean the counts\n\nA bicycle counter stands at a bridge and reports one number a day. Some days are missing, and on a few it was out of order and reported zero."),
    ("code", 'import pandas as pd\nimport matplotlib.pyplot as plt\n\nplt.rcParams["figure.dpi"] = 80\nraw = pd.read_csv("data/counts.csv", parse_dates=["date"])\nraw.describe().round(1)'),
    ("code", 'bad = raw["count"].isna() | (raw["count"] == 0)\nprint(f"{bad.sum()} of {len(raw)} days have no usable count")\nraw[bad]'),
    ("md", "We leave these days out rather than guess them."),
    ("code", 'clean = raw[~bad].assign(\n    count=lambda d: d["count"].astype(int),\n    weekend=lambda d: d["date"].dt.day_of_week >= 5,\n)\nclean.to_parquet("data/clean.parquet", index=False)\nclean.head()'),
    ("code", 'fig, ax = plt.subplots(figsize=(8, 3))\nfor weekend, days in clean.groupby("weekend"):\n    ax.plot(days["date"], days["count"], ".", ms=4, label="weekend" if weekend else "weekday")\nax.set_ylabel("bicycles a day")\nax.legend()\nax.set_title("One year at the bridge")\nplt.show()'),
]

MODEL = [
    ("md", "# 2. What brings people onto their bicycles?\n\nA log-linear model: temperature, rain and weekend each multiply the count."),
    ("code", 'import numpy as np\nimport pandas as pd\nimport matplotlib.pyplot as plt\n\nplt.rcParams["figure.dpi"] = 80\ndays = pd.read_parquet("data/clean.parquet")\nX = np.column_stack([np.ones(len(days)), days["temperature_c"], days["rain_mm"], days["weekend"]])\ny = np.log(days["count"])\nbeta, residual, *_ = np.linalg.lstsq(X.astype(float), y, rcond=None)\nsigma2 = residual[0] / (len(y) - X.shape[1])\nerror = np.sqrt(np.diag(sigma2 * np.linalg.inv((X.T @ X).astype(float))))'),
    ("code", 'effects = pd.DataFrame(\n    {"effect_percent": 100 * (np.exp(beta) - 1), "low": 100 * (np.exp(beta - 1.96 * error) - 1), "high": 100 * (np.exp(beta + 1.96 * error) - 1)},\n    index=["(base)", "1 \u00b0C warmer", "1 mm of rain", "weekend"],\n).iloc[1:].round(2)\neffects.to_csv("results/effects.csv", index_label="cause")\neffects'),
    ("code", 'fig, axes = plt.subplots(1, 2, figsize=(9, 3.2))\naxes[0].scatter(days["temperature_c"], days["count"], s=6, c=days["rain_mm"], cmap="viridis")\naxes[0].set(xlabel="temperature (\u00b0C)", ylabel="bicycles a day")\naxes[1].hist(y - X.astype(float) @ beta, bins=30)\naxes[1].set(xlabel="residual (log)", title="What the model leaves")\nfig.tight_layout()\nfig.savefig("results/model.png")\nplt.show()'),
    ("md", "Each degree brings a few percent more, each millimetre of rain takes as much away, and a weekend costs a third."),
]

README = """# Bicycles at the bridge

A small analysis to try Syft Sync on. `1-clean.ipynb` reads `data/counts.csv` and writes `data/clean.parquet`;
`2-model.ipynb` fits a model to it and writes `results/`. Change a number, run a notebook, and watch the history panel.

The counts are simulated (`scripts/make-examples.py` in the repository).
"""

if __name__ == "__main__":
    for folder in ("data", "results"):
        (EXAMPLES / folder).mkdir(parents=True, exist_ok=True)
    counter().to_csv(EXAMPLES / "data" / "counts.csv", index=False, float_format="%g")
    notebook("1-clean.ipynb", CLEAN)
    notebook("2-model.ipynb", MODEL)
    (EXAMPLES / "README.md").write_text(README)
