"""What is said of pictures, in Chinese."""

TABLE: dict[str, str] = {
    # --- files ---
    'an array': '数组',
    'a picture': '图片',
    '{record} of shape {shape} is no picture: [height, width] is, or [height, width, channels] with 1, 3 or 4'
    ' channels.': '{record}的形状是 {shape}，不是图片：应为 [高，宽]，或 [高，宽，通道]，通道数为 1、3 或 4。',
    '{record} holds floats from {low:.4g} to {high:.4g}: those of a picture are in 0..1 (or uint8 in 0..255).': (
        '{record}中的浮点数从 {low:.4g} 到 {high:.4g}：图片的数值应在 0..1 之间（或为 0..255 的 uint8）。'
    ),
    '{record} is of type {dtype}: the values of a picture are uint8 in 0..255, or floats in 0..1.': (
        '{record}的类型是 {dtype}：图片的数值应为 0..255 的 uint8，或 0..1 的浮点数。'
    ),
    # --- processor ---
    '{name}={values}: the pictures have {channels} channels, and each wants a number.': (
        '{name}={values}：图片有 {channels} 个通道，每个通道要有一个数。'
    ),
    'size={size}: a side has 1 to {most} pixels (0: as many as the data have).': (
        'size={size}：边长为 1 到 {most} 像素（0：与数据相同）。'
    ),
    'resize={resize}: the shorter side has at least the size={size} pixels that are cut out of it, and at most {most}'
    ' (0: nothing is cut off).': (
        'resize={resize}：短边至少要有从中裁出的 size={size} 个像素，最多 {most} 个（0：不裁剪）。'
    ),
    'interpolation="{name}": {alternatives}': 'interpolation="{name}"：没有这种插值方式；{alternatives}',
    'mean={mean}, deviation={deviation}: a number for each channel is wanted in both, of values in 0..1, such as'
    ' (0.5,) and (0.25,); () for both means that they are measured.': (
        'mean={mean}，deviation={deviation}：两者都应给每个通道一个数（按 0..1 的数值计），例如 (0.5,) 和 (0.25,)；'
        '两者都为 () 表示由数据测得。'
    ),
    # --- transforms ---
    '{name}={value}: from {low} to {high} is wanted.': '{name}={value}：应在 {low} 到 {high} 之间。',
    'padding_mode="{name}": {alternatives}': 'padding_mode="{name}"：没有这种填充方式；{alternatives}',
}
