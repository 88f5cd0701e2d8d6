/*
 * Chinese in simplified characters, without spaces. Artists and restaurants are invented. The form of the
 * tables is explained in synth_tables.h.
 */
#include "synth_tables.h"

static const synth_room zh_rooms[SYNTH_N_ROOMS] = {
    {"厨房", "在厨房", "厨房的"}, {"卧室", "在卧室", "卧室的"}, {"浴室", "在浴室", "浴室的"}, {"客厅", "在客厅", "客厅的"},
    {"书房", "在书房", "书房的"}, {"走廊", "在走廊", "走廊的"}};

static const synth_day zh_days[SYNTH_N_DAYS] = {
    {"星期一", "星期一"}, {"星期二", "星期二"}, {"星期三", "星期三"}, {"星期四", "星期四"}, {"星期五", "星期五"}, {"星期六", "星期六"},
    {"星期天", "星期天"}};

static const char *const zh_names[] = {
    "王伟", "李萍", "张敏", "刘波", "陈静", "杨帆", "赵磊", "黄丽", "周明", "吴悠", "徐强", "孙悦", "马骏", "朱妍", "胡军", "郭晶", "林峰",
    "何欣", "高翔", "罗兰", "郑慧", "梁宇", "谢云", "宋婷", "唐宁", "许静", "邓辉", "冯雪", "韩梅", "曹阳", "曾琪", "彭博", "萧月", "蔡明",
    "潘虹", "田园", "董岚", "袁浩", "于涛", "余乐", "叶青", "蒋文", "杜鹃", "苏珊", "魏来", "程林", "吕良", "丁宁", "沈冰", "任远", "姚瑶",
    "卢东", "姜南", "崔航", "钟声", "谭勇", "陆海", "汪洋", "范晨", "石磊", "廖平", "贾雯", "夏天", "方圆", "白雪", "秦川", NULL};

static const char *const zh_cities[] = {
    "北京", "上海", "广州", "深圳", "天津", "重庆", "成都", "杭州", "南京", "武汉", "西安", "苏州", "长沙", "青岛", "大连", "厦门", "宁波",
    "无锡", "济南", "合肥", "福州", "昆明", "贵阳", "南宁", "海口", "三亚", "太原", "沈阳", "长春", "哈尔滨", "石家庄", "郑州", "洛阳", "南昌",
    "兰州", "西宁", "银川", "拉萨", "桂林", "丽江", "珠海", "佛山", "东莞", "温州", "绍兴", "扬州", "烟台", "威海", "香港", "澳门", "台北",
    "东京", "首尔", "新加坡", "曼谷", "巴黎", "伦敦", "罗马", "柏林", "悉尼", "纽约", "开罗", NULL};

static const char *const zh_artists[] = {
    "银色港湾", "纸狐狸", "天鹅绒彗星", "北方灯笼", "铜月亮", "安静引擎", "玻璃草地", "午夜果园", "空心松", "电茶杯", "丢失的伞", "金色噪音", "河与锈",
    "大理石天空", "铁皮麻雀", "海滨九号", "紫色卫星", "慢火箭", "冬日木马", "霓虹水手", "木头星星", "水晶游行", "周日机器", "蓝色罗盘", "回声花园", "沙漠合唱",
    "柠檬国王", "坠落地图", "雷声小屋", "夜班面包师", "藏红花狼", "远方风筝", "象牙列车", "诚实幽灵", "云之海", "火箭沙龙", "绿钢琴", "雾中峡谷", "七座灯塔",
    "光之桥", NULL};

static const char *const zh_restaurants[] = {
    "蓝灯笼", "铜锅居", "红门小馆", "枫叶桌", "饿狐狸", "绿屋", "银勺子", "咸锚", "无花果", "老磨坊", "晚霞露台", "金打蛋器", "胡椒坊", "港湾景", "石炉",
    "柠檬树", "柳树居", "旧叉子", "罗勒角", "石桥客栈", "转角盘", "野莓", "雪松厅", "大橡树", "藏红花宫", "月光小食", "铁锅王", "河之歌", "番茄街",
    "蓝牡蛎", "花园门", "松与炭", "丝绒椅", "果园路", "小那不勒斯", "杜松角", "白梅子", "琥珀光", "肉桂巷", "竹影轩", NULL};

static const char *const zh_titles[] = {
    "团队会议", "看牙医", "瑜伽课", "电影之夜", "读书会", "钢琴课", "项目评审", "家庭晚餐", "汽车保养", "预算讨论", "生日聚会", "旅行计划", "面试",
    "游泳训练", "家长会", "设计研讨", "销售报告", "园艺活动", "眼科检查", "董事会", "足球训练", "咖啡时间", "绘画课", "看房子", "税务咨询", "舞蹈课",
    "产品演示", "客户电话", "合唱排练", "游戏之夜", "打疫苗", "英语课", "拍照片", "员工午餐", "象棋社", "验血", "每周例会", "烹饪课", "安全培训", "理发",
    NULL};

static const char *const zh_items[] = {
    "午餐", "出租车", "火车票", "酒店", "停车", "咖啡", "书籍", "打印纸", "鲜花", "汽油", "晚餐", "早餐", "邮票", "软件", "耳机", "键盘",
    "办公椅", "话费", "零食", "杂货", "博物馆", "公交车", "文具", "快递", "礼物", "剪发", "鞋子", "药品", "电池套装", "雨伞", NULL};

static const char *const zh_products[] = {
    "笔记本", "铅笔", "杯子", "台灯", "文件夹", "信封", "水瓶", "椅子", "蜡烛", "毛巾", "枕头", "盘子", "玻璃杯", "灯泡", "电池", "数据线",
    "背包", "海报", "贴纸", "名牌", "白板", "记号笔", "日历", "箱子", "毯子", "篮子", "镜子", "时钟", "托盘", "挂钩", NULL};

static const char *const zh_texts[] = {
    "我会晚到", "给我回电话", "回头见", "生日快乐", "我到家了", "晚饭好了", "祝你好运", "谢谢你的帮助", "我在路上", "请买牛奶", "火车晚点了", "会议取消了",
    "一路平安", "早日康复", "你在哪里", "我找到了", "晚安好梦", "我们谈谈", "马上就到", "带上电脑", "没问题", "做得好", "请开门", "等等我", NULL};

static const synth_phrases zh_phrases[SYNTH_N_INTENTS] = {
    [SYNTH_SET_LIGHT] =
        {{"把{room}的灯调到{level}%。", "{room}的灯光设为{level}%。", "{room}灯光{level}%，谢谢。", "我要{room}的灯{level}%。",
          "请把{room}的灯开到{level}%。", "{room}的亮度改成{level}%。", "灯光{level}%，在{room}。", "将{room}的灯调成{level}%。",
          "{room}要{level}%的亮度。"},
         {"能把{room}的灯调到{level}%吗？", "请将{room}的灯光调到{level}%。", "我想把{room}的灯设为{level}%。"},
         {"好的，{room}的灯是{level}%。", "{room}的灯光已调到{level}%。", "完成：{room}亮度{level}%。",
          "没问题，{room}的灯为{level}%。"}},
    [SYNTH_SET_HEATING] =
        {{"把{room}的暖气调到{degrees}度。", "{room}的温度设为{degrees}度。", "{room}暖气{degrees}度，谢谢。",
          "我要{room}{degrees}度。",
          "请把{room}加热到{degrees}度。", "{room}的温度改成{degrees}度。", "暖气{degrees}度，在{room}。",
          "将{room}的暖气调成{degrees}度。",
          "{room}要保持{degrees}度。"},
         {"能把{room}的暖气调到{degrees}度吗？", "请将{room}的温度调到{degrees}度。", "我想把{room}的暖气设为{degrees}度。"},
         {"好的，{room}的暖气是{degrees}度。", "{room}的温度已调到{degrees}度。", "完成：{room}{degrees}度。",
          "没问题，{room}的暖气为{degrees}度。"}},
    [SYNTH_PLAY_MUSIC] =
        {{"播放{artist}。", "放{artist}的音乐。", "我想听{artist}。", "请放{artist}。", "来点{artist}的歌。", "让我听{artist}。",
          "放一首{artist}的歌。", "听{artist}的音乐，谢谢。", "可以放{artist}吗？"},
         {"我想听{artist}的歌。", "请播放{artist}的音乐。", "能放一些{artist}的歌吗？"},
         {"好的，播放{artist}。", "这是{artist}的音乐。", "正在播放{artist}。", "没问题，{artist}的歌。"},
         {"找{artist}来放。", "现在能听{artist}吗？", "我很想听听{artist}。", "放{artist}的新歌。", "请来一些{artist}的音乐。",
          "帮我放{artist}的曲子。"}},
    [SYNTH_SET_ALARM] =
        {{"设一个{time}的闹钟。", "{time}叫我起床。", "我需要{time}的闹钟。", "闹钟{time}，谢谢。", "请在{time}叫醒我。", "把闹钟设到{time}。",
          "可以设{time}的闹钟吗？", "我要在{time}起床。", "让闹钟在{time}响。"},
         {"能在{time}叫我起床吗？", "请把闹钟设在{time}。", "我想要一个{time}的闹钟。"},
         {"好的，闹钟{time}。", "我会在{time}叫醒你。", "闹钟已设为{time}。", "没问题，闹钟会在{time}响。"}},
    [SYNTH_CREATE_EVENT] =
        {{"{day}{time}添加{title}。", "把{title}记到{day}{time}。", "安排{title}，{day}{time}。",
          "新日程：{title}，{day}，{time}。",
          "我{day}{time}有{title}，请记下。", "{day}{time}：{title}，加到日历。", "日历里加上{title}，{day}{time}。",
          "{title}在{day}{time}，请安排。", "创建日程{title}，时间{day}{time}。"},
         {"请在{day}{time}安排{title}。", "能把{title}加到{day}{time}吗？", "请记下{title}，{day}{time}。"},
         {"好的，{day}{time}{title}。", "{title}已加到{day}{time}。", "已添加：{title}，{day}，{time}。",
          "没问题，{title}安排在{day}{time}。"},
         {"能在{day}{time}加上{title}吗？", "请把{title}放到{day}{time}。", "{title}要安排在{day}{time}。",
          "帮我记{title}，{day}{time}。", "我想在{day}{time}加{title}。", "请登记{day}{time}的{title}。"}},
    [SYNTH_SEND_MESSAGE] =
        {{"告诉{to}：{text}。", "给{to}发消息：{text}。", "写给{to}：{text}。", "发“{text}”给{to}。", "通知{to}：{text}。",
          "消息给{to}：{text}。", "跟{to}说：{text}。", "把“{text}”发给{to}，谢谢。", "请写给{to}：{text}。"},
         {"请告诉{to}：{text}。", "给{to}发一条消息：{text}。", "请发“{text}”给{to}。"},
         {"好的，告诉{to}：{text}。", "已发给{to}：{text}。", "我写给{to}了：{text}。", "没问题，“{text}”发给{to}了。"},
         {"能告诉{to}：{text}吗？", "把这个发给{to}：{text}。", "请通知{to}：{text}。", "有消息给{to}：{text}。",
          "请把“{text}”发给{to}。"}},
    [SYNTH_FIND_FLIGHT] =
        {{"找从{from}到{to}的航班。", "我想从{from}飞到{to}。", "{from}到{to}的机票，谢谢。", "看看{from}到{to}的航班。",
          "我需要去{to}的航班，从{from}出发。", "从{from}飞{to}。", "有从{from}到{to}的航班吗？", "查去{to}的飞机，{from}出发。",
          "搜索{from}到{to}的航班。"},
         {"能找一下从{from}到{to}的航班吗？", "我想要从{from}到{to}的航班。", "请查从{from}飞到{to}的航班。"},
         {"好的，从{from}到{to}的航班。", "正在找{from}到{to}的航班。", "这是从{from}到{to}的航班。", "没问题，我查从{from}到{to}的航班。"},
         {"能看看从{from}到{to}的飞机吗？", "我在找从{from}去{to}的航班。", "请给我{from}飞{to}的航班。"}},
    [SYNTH_BOOK_HOTEL] =
        {{"在{city}订{nights}晚酒店。", "我需要{city}的酒店，{nights}晚。", "{city}住{nights}晚，请订酒店。",
          "预订{city}的酒店{nights}晚。",
          "帮我找{city}的酒店，{nights}晚。", "我在{city}住{nights}晚，订个酒店。", "酒店在{city}，{nights}晚，谢谢。",
          "{nights}晚{city}的酒店。",
          "请订{city}{nights}晚的酒店。"},
         {"能在{city}订{nights}晚酒店吗？", "我想要{city}的酒店，{nights}晚。", "请预订{city}的酒店，住{nights}晚。"},
         {"好的，{city}的酒店{nights}晚。", "{city}的酒店订好了，{nights}晚。", "完成：{city}住{nights}晚。",
          "没问题，{city}{nights}晚酒店。"},
         {"能找{city}的酒店住{nights}晚吗？", "我想在{city}住酒店{nights}晚。", "请找{city}的房间，{nights}晚。"}},
    [SYNTH_BOOK_TABLE] =
        {{"在{name}订{people}人的位子，{time}。", "{name}，{people}位，{time}，请预订。", "{time}在{name}，{people}人，谢谢。",
          "我们{people}个人，想{time}在{name}吃饭。", "订{name}的桌子，{people}人，{time}。", "帮我们订{name}，{people}人，{time}。",
          "{time}我要在{name}订{people}人的桌。", "请预订{name}，{time}，{people}位。", "晚餐在{name}，{people}人，{time}，请订位。"},
         {"能在{name}订{people}人的桌子吗？{time}。", "我想在{name}订位，{people}人，{time}。", "请在{time}订{name}的桌子，{people}人。"},
         {"好的，{name}，{people}人，{time}。", "{name}已订好，{people}人，{time}。", "完成：{people}人在{name}，{time}。",
          "没问题，{name}的位子，{people}人，{time}。"},
         {"{time}能在{name}吃饭吗？{people}人。", "我想订{name}的位子，{time}，{people}人。",
          "我们要{name}的桌子，{people}人，{time}。", "请订{time}的{name}，{people}人。",
          "帮忙找{name}的位子，{people}人，{time}。"}},
    [SYNTH_CONTACT] =
        {{"新联系人：{name}，{city}，{phone}。", "保存{city}的{name}，电话{phone}。", "{name}住在{city}，号码{phone}。",
          "添加{name}，{city}，号码是{phone}。", "我是{city}的{name}，电话是{phone}。", "{city}的{name}号码是{phone}。",
          "联系人{name}，电话{phone}，城市{city}。", "打给{city}的{name}：{phone}。", "记下{name}，{phone}，{city}。"},
         {"请保存联系人{name}，{phone}，{city}。", "添加{city}的{name}，号码{phone}。", "{city}的{name}电话号码是{phone}。"},
         {"好的，{city}的{name}，电话{phone}。", "已保存：{name}，{city}，{phone}。", "{city}的{name}号码是{phone}。",
          "没问题，记下了{name}，{city}，{phone}。"},
         {"请记{city}的{name}，{phone}。", "{city}{name}的电话是{phone}。", "请加{name}，电话号码{phone}，住{city}。"}},
    [SYNTH_EXPENSE] =
        {{"{item}花了{amount}元。", "支出：{item}，{amount}元。", "{amount}元用于{item}。", "记{amount}元，{item}。",
          "我付了{amount}元，{item}。",
          "记一笔：{item}，{amount}元。", "{item}一共{amount}元。", "请登记{item}，{amount}元。", "{amount}元记在{item}下。"},
         {"我花了{amount}元，用于{item}。", "请记一笔支出，{item}，{amount}元。", "{item}要记{amount}元。"},
         {"好的，{item}{amount}元。", "已记录：{item}，{amount}元。", "{item}花了{amount}元，记好了。", "没问题，{item}共{amount}元。"},
         {"请加上{item}{amount}元。", "为{item}付了{amount}元。", "写一笔{item}，{amount}元。", "{item}的费用是{amount}元。"}},
    [SYNTH_ORDER] =
        {{"订{count}个{product}。", "我需要{count}个{product}。", "请订购{count}个{product}。", "我们要{count}个{product}。",
          "{count}个{product}，谢谢。",
          "帮我们买{count}个{product}。", "可以给我{count}个{product}吗？", "请送{count}个{product}。",
          "新订单：{product}，{count}个。"},
         {"我想订{count}个{product}。", "我们需要买{count}个{product}。", "能订购{count}个{product}吗？"},
         {"好的，{count}个{product}。", "你的订单：{count}个{product}。", "已订{count}个{product}。",
          "没问题，我来订{count}个{product}。"},
         {"能给我们{count}个{product}吗？", "我要买{count}个{product}。", "我们想要{count}个{product}。"}},
    [SYNTH_APPOINTMENT] =
        {{"{name}{day}{time}有预约。", "预约：{name}，{day}，{time}。", "我是{name}，{day}{time}可以来。",
          "请把{name}安排在{day}{time}。",
          "{day}{time}给{name}，谢谢。", "{day}{time}，{name}的预约。", "{name}{day}{time}过来。", "{time}，{day}，{name}。",
          "给{name}留{day}{time}。"},
         {"请给{name}预约{day}{time}。", "{name}会在{day}{time}来。", "请记下{name}，{day}{time}。"},
         {"好的，{name}，{day}{time}。", "已记录：{name}，{day}，{time}。", "{name}{day}{time}有预约。",
          "没问题，{name}安排在{day}{time}。"},
         {"请把{day}{time}留给{name}。", "{name}想在{day}{time}来。", "请给{name}安排{day}{time}。",
          "能给{name}约{day}{time}吗？"}},
    [SYNTH_TRIP] =
        {{"从{from}到{to}旅行，{nights}晚。", "我从{from}去{to}，住{nights}晚。", "我们从{from}到{to}，{nights}晚。",
          "在{to}住{nights}晚，从{from}出发。", "计划从{from}到{to}的旅行，{nights}晚。", "{from}到{to}，{nights}晚，谢谢。",
          "出差申请：{from}到{to}，{nights}晚。", "我离开{from}去{to}，停留{nights}晚。", "去{to}，从{from}走，{nights}晚。"},
         {"我想从{from}到{to}旅行{nights}晚。", "请记下旅行：从{from}到{to}，{nights}晚。", "我们去{to}，从{from}出发，{nights}晚。"},
         {"好的，从{from}到{to}，{nights}晚。", "你的旅行：{from}到{to}，{nights}晚。", "从{from}出发，在{to}住{nights}晚。",
          "没问题，{from}到{to}的旅行，{nights}晚。"},
         {"我要从{from}去{to}住{nights}晚。", "请写下去{to}的旅行，从{from}，{nights}晚。", "我们想从{from}出发到{to}，{nights}晚。"}},
    [SYNTH_PERSON] =
        {{"{name}{age}岁，住在{city}。", "我叫{name}，{age}岁，来自{city}。", "{name}，{age}岁，{city}。",
          "{city}的{name}今年{age}岁。",
          "这是{name}，{age}岁，来自{city}。", "我是{name}，{age}岁，住在{city}。", "{city}住着{name}，{age}岁。",
          "{name}住在{city}，今年{age}岁。",
          "人员：{name}，年龄{age}，城市{city}。"},
         {"我住在{city}，叫{name}，{age}岁。", "{name}今年{age}岁，来自{city}。", "这位是{city}的{name}，{age}岁。"},
         {"好的，{name}，{age}岁，{city}。", "{name}{age}岁，住在{city}。", "已记录：{city}的{name}，{age}岁。",
          "没问题，{city}的{name}是{age}岁。"},
         {"我来自{city}，是{name}，{age}岁。", "我的朋友{name}在{city}，{age}岁。", "我{age}岁，叫{name}，住{city}。",
          "这是住在{city}的{name}，{age}岁。"}},
    [SYNTH_SET_TIMER] =
        {{"设一个{minutes}分钟的计时器。", "计时{minutes}分钟。", "{minutes}分钟后提醒我。", "计时器{minutes}分钟，谢谢。",
          "请倒数{minutes}分钟。"},
         {NULL},
         {"好的，计时{minutes}分钟。", "计时器已设为{minutes}分钟。", "{minutes}分钟，现在开始。"}},
    [SYNTH_GET_WEATHER] =
        {{"{day}{city}的天气怎么样？", "{city}{day}的天气，谢谢。", "{day}{city}会下雨吗？", "告诉我{city}{day}的天气。",
          "我想看{city}{day}的预报。"},
         {NULL},
         {"我查一下{city}{day}的天气。", "{city}{day}的预报马上来。", "好的，{day}，{city}的天气。"}},
};

static const char *const zh_open[] = {"你好！", "您好，", "早上好。", "请帮个忙：", "听我说，", "有件事：", NULL};
static const char *const zh_open_held[] = {"晚上好。", "你好呀！", "麻烦你：", NULL};

static const synth_pair zh_chat[] = {
    {"你好！", "你好！有什么可以帮你？"},
    {"非常感谢。", "不客气。"},
    {"你好吗？", "我很好，谢谢。"},
    {"讲个笑话。", "比起讲笑话，我更会帮忙。"},
    {"你叫什么名字？", "我是你的助手。"},
    {"这本书是谁写的？", "对不起，我不知道。"},
    {"我很无聊。", "出去走走也许不错。"},
    {"晚安。", "晚安，睡个好觉。"},
    {"你喜欢猫吗？", "猫是很可爱的动物。"},
    {"人生的意义是什么？", "这是个大问题。"},
    {"你会做饭吗？", "不会，但我可以帮你计划。"},
    {"太棒了！", "很高兴你喜欢。"},
    {NULL, NULL}};

static const char *const zh_keys[] = {
    "姓名", "城市", "电话", "街道", "颜色", "代码", "物品", "动物", "日期", "时间", "价格", "客户", "标题", NULL};
static const char *const zh_ask[] = {"{key}是什么？", "告诉我{key}。", "{key}写的是什么？", "{key}呢？", NULL};
static const char *const zh_repeat[] = {"重复：{items}", "再说一遍：{items}", "照抄：{items}", NULL};
static const char *const zh_list[] = {"每行一个：{items}", "列成清单：{items}", NULL};
static const char *const zh_syllables[] = {
    "王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "徐", "孙", "马", "朱", "胡", "郭", "林", "何", "高", "罗", "伟",
    "娜", "敏", "洋", "静", "帆", "磊", "丽", "杰", "强", "悦", "超", "军", "峰", "欣", "翔", "宇", "芳", "佳", "宁", "晴", "辉",
    "雪", "梅", "阳", "明", "红", "文", "浩", "涛", "北", "南", "东", "西", "京", "海", "州", "山", "江", "阳", "安", "沙", "岛",
    "门", "春", "原", "港", "台", "银", "金", "蓝", "绿", "白", "纸", "铜", "月", "星", "云", "灯", "桥", "花", "园", "石", "木",
    "树", "店", "课", "会", "夜", "计", "划", "票", "车", "书", "笔", "杯", "椅", "盘", "信", "光", NULL};

const synth_lang synth_zh = {
    .locale = "zh-Hans", .rooms = zh_rooms, .days = zh_days,
    .pools = {zh_names, zh_cities, zh_artists, zh_restaurants, zh_titles, zh_items, zh_products, zh_texts},
    .phrases = zh_phrases, .open = zh_open, .open_held = zh_open_held, .chat = zh_chat,
    .keys = zh_keys, .ask = zh_ask, .repeat = zh_repeat, .list = zh_list,
    .syllables = zh_syllables, .comma = "、", .swap = NULL};
