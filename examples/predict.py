"""Load the production model by name, in a process that has never seen its training, and ask it."""

from __future__ import annotations

from sklearn.datasets import load_breast_cancer

import jupyter_mlops as mlops

model = mlops.load_model("models:/breast-cancer@production")
data = load_breast_cancer(as_frame=True)
some = data.data.sample(5, random_state=1)
for tumour, answer in zip(some.index, model.predict(some), strict=True):
    predicted, actual = data.target_names[answer], data.target_names[data.target[tumour]]
    print(f"tumour {tumour:>3}: {predicted:<9} (in truth {actual})")
