"""What is said of generative adversarial networks, in Chinese."""

TABLE: dict[str, str] = {
    # --- tasks/gan ---
    'the class "{name}": this experiment makes pictures without classes; "" makes any.': (
        '类别“{name}”：这个实验生成图片时不分类别；"" 可生成任意一张。'
    ),
    'the class "{name}": {alternatives}': '类别“{name}”：{alternatives}',
    'label_smoothing={value}: at least 0 and below 0.5 is wanted, such as 0.1.': (
        'label_smoothing={value}：须至少为 0 且小于 0.5，例如 0.1。'
    ),
    'label_smoothing={value}: loss=hinge knows none; 0.0 is wanted.': (
        'label_smoothing={value}：loss=hinge 没有标签平滑；应为 0.0。'
    ),
    'discriminator_steps={value}: a number from 1 to 100 is wanted.': (
        'discriminator_steps={value}：须为 1 到 100 之间的整数。'
    ),
    'fake_labels=data: how often each class is there is not known of these data; "uniform" fits any.': (
        'fake_labels=data：不知道这份数据中每个类别各有多少；"uniform" 适用于任何数据。'
    ),
    # --- generate ---
    'Write text, or make pictures, with a trained experiment.': '用训练好的实验写文本，或生成图片。',
    'of the choices: the same seed makes the same': '随机选择的种子：相同的种子得到相同的结果',
    'where it writes text': '用于写文本的实验',
    'where it makes pictures': '用于生成图片的实验',
    'names or numbers of classes, 0,1,2: these alone, in turn; default: all': (
        '类别的名称或编号，如 0,1,2：只轮流生成这些；默认：全部'
    ),
    'a new folder, in which each class has one for its pictures; default: one grid, in the workdir': (
        '新文件夹，其中每个类别的图片各占一个文件夹；默认：在实验文件夹中写一张拼图'
    ),
    'how many to make (default 64)': '生成多少张（默认 64）',
    '--workdir={workdir}: this experiment makes nothing; predict asks it.': (
        '--workdir={workdir}：这个实验不生成任何东西；请用 predict 来问它。'
    ),
    '--{name}: this experiment makes pictures, and its flags are {flags}.': (
        '--{name}：这个实验生成图片，它的参数是 {flags}。'
    ),
    '--{name}: this experiment writes text, and its flags are {flags}.': (
        '--{name}：这个实验写文本，它的参数是 {flags}。'
    ),
    '--count={count}: from 1 to {most} are wanted.': '--count={count}：须在 1 到 {most} 之间。',
    '{count:,} pictures: {folder}': '{count:,} 张图片：{folder}',
    '{file} cannot be written ({error}).': '无法写入 {file}（{error}）。',
    '--folder={folder}: something lies there already; a new folder is wanted.': (
        '--folder={folder}：那里已经有东西；请给一个新文件夹。'
    ),
    '--workdir={workdir}: this experiment makes pictures; generate does that.': (
        '--workdir={workdir}：这个实验生成图片；请用 generate。'
    ),
    # --- judge ---
    'Judge the pictures that a GAN makes, by what a trained classifier sees in them.': (
        '用训练好的分类器所看到的，评判 GAN 生成的图片。'
    ),
    'how many pictures of each kind, at most: half of the real ones (default 5000)': (
        '每种图片多少张，最多为真实图片的一半（默认 5000）'
    ),
    'the workdir of a classifier of such pictures': '能识别这类图片的分类器的文件夹',
    '--classifier=… is wanted: the workdir of a classifier of such pictures.': (
        '需要 --classifier=…：能识别这类图片的分类器的文件夹。'
    ),
    '--workdir={workdir}: this experiment makes no pictures.': '--workdir={workdir}：这个实验不生成图片。',
    '--classifier={workdir}: this is no classifier of pictures.': '--classifier={workdir}：这不是图片分类器。',
    '{count:,} made pictures against {count:,} real ones of {split}; in brackets: as many other real ones': (
        '{count:,} 张生成的图片与 {split} 中 {count:,} 张真实图片相比；括号内：同样多的另一些真实图片'
    ),
    '--count={count}, and {split} has {there} pictures: at least {least} of each kind are wanted, and twice as many'
    ' real ones.': ('--count={count}，而 {split} 有 {there} 张图片：每种至少要 {least} 张，真实图片要两倍。'),
    '{data}: nothing of these data is held out to compare with.': '{data}：这份数据没有留出可供比较的部分。',
    # --- combined ---
    '{source} has a part "train" alone, and nothing to be tested on.': (
        '{source} 只有 "train" 部分，没有可供测试的部分。'
    ),
    '{learned} and {tested} differ in their classes ({first} is in one of them alone); the same are wanted.': (
        '{learned} 和 {tested} 的类别不同（{first} 只在其中之一里）；应当相同。'
    ),
    '{learned}, tested on {tested}': '{learned}，在 {tested} 上测试',
}
