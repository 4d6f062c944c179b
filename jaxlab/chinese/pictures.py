"""What is said of models of pictures, and of published weights, in Chinese."""

TABLE: dict[str, str] = {
    # --- models ---
    '{name}={value}: a tuple of whole numbers is wanted, such as (32, 64).': (
        '{name}={value}：应为由整数组成的元组，例如 (32, 64)。'
    ),
    'classes={classes}, and the data have {wanted}; 0 takes what the data have.': (
        'classes={classes}，而数据有 {wanted} 类；0 表示与数据的类别数相同。'
    ),
    'this model sees pictures, [height, width, channels], and an example of these data is of shape {shape}.': (
        '这个模型处理图片（[高，宽，通道]），而这份数据的样本形状是 {shape}。'
    ),
}
