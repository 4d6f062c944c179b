"""What is said of transformers and generators of pictures, in Chinese."""

TABLE: dict[str, str] = {
    'this model sees pictures, and these data are none: data.pictures reads such.': (
        '这个模型看图片，而这些数据不是图片；data.pictures 读取图片。'
    ),
    '{name}={value} mixes pictures or numbers, and these data are neither: 0.0.': (
        '{name}={value} 混合图片或数字，而这些数据两者都不是：请用 0.0。'
    ),
    # --- vit ---
    'patch={patch} does not divide a picture of {height} x {width} pixels; {near} would.': (
        'patch={patch} 不能整除 {height} x {width} 像素的图片；{near} 可以。'
    ),
    'Pictures of {height} x {width} are {count} patches, and this model has positions for {there}: give it pictures of'
    ' the size that it was made for.': (
        '{height} x {width} 的图片有 {count} 个图块，而这个模型只有 {there} 个位置：请给它与建立时同样大小的图片。'
    ),
    # --- dcgan ---
    'DCGAN makes pictures whose height and width 4 divides, and these data have {height} x {width} pixels; the nearest'
    ' such size: {near_height} x {near_width}.': (
        'DCGAN 生成的图片，高和宽须能被 4 整除，而这份数据是 {height} x {width} 像素；'
        '最接近的大小是 {near_height} x {near_width}。'
    ),
    'conditional=True: these data have no labels; set conditional=False.': (
        'conditional=True：这份数据没有标签；请设 conditional=False。'
    ),
    # --- pretrained ---
    'config.json: {key}={value}, and our ViT has {wanted}.': 'config.json：{key}={value}，而我们的 ViT 是 {wanted}。',
    '{field}={value}: the ViT of transformers has {wanted}, and no other.': (
        '{field}={value}：transformers 的 ViT 只有 {wanted}。'
    ),
    'config.json: {key}={value}, and our EfficientNet has {wanted}.': (
        'config.json：{key}={value}，而我们的 EfficientNet 是 {wanted}。'
    ),
    'image_size={size}: transformers pads pictures of odd sizes otherwise than TensorFlow and we do; an even size is'
    ' wanted.': ('image_size={size}：对奇数大小的图片，transformers 的填充方式与 TensorFlow 和我们的不同；请用偶数。'),
}
