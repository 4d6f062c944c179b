"""What is said of transformers and generators of pictures, in Chinese."""

TABLE: dict[str, str] = {
    # --- vit ---
    'patch={patch} does not divide a picture of {height} x {width} pixels; {near} would.': (
        'patch={patch} 不能整除 {height} x {width} 像素的图片；{near} 可以。'
    ),
    'Pictures of {height} x {width} are {count} patches, and this model has positions for {there}: give it pictures of'
    ' the size that it was made for.': (
        '{height} x {width} 的图片有 {count} 个图块，而这个模型只有 {there} 个位置：请给它与建立时同样大小的图片。'
    ),
}
