"""Serving as the starting document does it, made to run: Pillow, torchvision's transforms, the network in float32.

python -m benchmarks.seed_server BACKBONE PORT
"""

import io
import sys

import torch
import uvicorn
from fastapi import FastAPI, Request
from PIL import Image
from torchvision import models, transforms

TRANSFORM = transforms.Compose(
    [
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
)


def main() -> None:
    model = getattr(models, sys.argv[1])(weights=None, num_classes=133).eval()
    app = FastAPI()

    @app.get("/ping")
    def ping() -> dict:
        return {}

    @app.post("/invocations")
    async def invocations(request: Request) -> list[float]:
        image = Image.open(io.BytesIO(await request.body())).convert("RGB")
        with torch.no_grad():
            return model(TRANSFORM(image)[None])[0].tolist()

    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")


if __name__ == "__main__":
    main()
