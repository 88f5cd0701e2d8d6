/*
 * Spanish. Artists and restaurants are invented. The form of the tables is explained in synth_tables.h.
 */
#include "synth_tables.h"

static const synth_room es_rooms[SYNTH_N_ROOMS] = {
    {"cocina", "en la cocina", "de la cocina"}, {"dormitorio", "en el dormitorio", "del dormitorio"},
    {"baño", "en el baño", "del baño"}, {"salón", "en el salón", "del salón"},
    {"oficina", "en la oficina", "de la oficina"}, {"pasillo", "en el pasillo", "del pasillo"}};

static const synth_day es_days[SYNTH_N_DAYS] = {
    {"lunes", "el lunes"}, {"martes", "el martes"}, {"miércoles", "el miércoles"}, {"jueves", "el jueves"},
    {"viernes", "el viernes"}, {"sábado", "el sábado"}, {"domingo", "el domingo"}};

static const char *const es_names[] = {
    "Adriana", "Alba", "Alberto", "Alejandro", "Alicia", "Álvaro", "Ana", "Andrea", "Andrés", "Ángel",
    "Antonio", "Beatriz", "Begoña", "Blanca", "Carlos", "Carmen", "Carolina", "César", "Clara", "Claudia",
    "Cristina", "Daniel", "David", "Diego", "Elena", "Enrique", "Esteban", "Eva", "Felipe", "Fernando",
    "Francisco", "Gonzalo", "Guillermo", "Inés", "Íñigo", "Irene", "Iván", "Javier", "Joaquín", "Jorge",
    "José", "Juan", "Julia", "Laura", "Lola", "Lucía", "Luis", "Manuel", "Marcos", "María", "Mario",
    "Marta", "Miguel", "Mónica", "Natalia", "Nuria", "Olga", "Pablo", "Paula", "Pedro", "Pilar", "Rafael",
    "Raquel", "Ricardo", "Rocío", "Rosa", "Rubén", "Sara", "Sergio", "Silvia", "Sofía", "Teresa", "Tomás",
    "Víctor", NULL};

static const char *const es_cities[] = {
    "Albacete", "Alicante", "Almería", "Ávila", "Badajoz", "Barcelona", "Bilbao", "Burgos", "Cáceres",
    "Cádiz", "Cartagena", "Castellón", "Córdoba", "Cuenca", "Elche", "Gerona", "Gijón", "Granada",
    "Guadalajara", "Huelva", "Huesca", "Jaén", "Jerez", "León", "Lérida", "Logroño", "Lugo", "Madrid",
    "Málaga", "Marbella", "Mérida", "Murcia", "Orense", "Oviedo", "Palencia", "Pamplona", "Pontevedra",
    "Ronda", "Salamanca", "Santander", "Segovia", "Sevilla", "Soria", "Tarragona", "Teruel", "Toledo",
    "Valencia", "Valladolid", "Vigo", "Vitoria", "Zamora", "Zaragoza", "Bogotá", "Caracas", "Quito", "Lima",
    "Santiago", "Montevideo", "Lisboa", "París", "Roma", "Berlín", "Londres", "Viena", NULL};

static const char *const es_artists[] = {
    "Puerto de Plata", "Los Zorros de Papel", "Cometa Terciopelo", "Faroles del Norte", "Luna de Cobre",
    "Motores Callados", "Pradera de Vidrio", "Huerto de Medianoche", "Pinos Huecos", "Té Eléctrico",
    "Los Paraguas Perdidos", "Ruido Dorado", "Río Oxidado", "Cielos de Mármol", "Gorriones de Lata",
    "Avenida Nueve", "Satélites Morados", "Cohetes Lentos", "Carrusel de Invierno", "Marineros Neón",
    "Estrellas de Madera", "Desfile de Cristal", "Máquinas del Domingo", "La Brújula Azul",
    "Jardín del Eco", "Coro del Desierto", "Los Reyes Limón", "Mapas Caídos", "Cabaña Trueno",
    "Panaderos Nocturnos", "Lobos de Azafrán", "Cometas Lejanas", "Trenes de Marfil", "Fantasmas Sinceros",
    "Mar de Nubes", "Salón Cohete", "Pianos Verdes", "Cañón de Niebla", "Siete Faros", "Puente de Luz",
    NULL};

static const char *const es_restaurants[] = {
    "El Farol Azul", "La Olla de Cobre", "La Puerta Roja", "La Mesa Buena", "El Zorro Hambriento",
    "Casa Verde", "La Cuchara de Plata", "El Ancla Salada", "La Higuera", "El Molino Viejo", "La Terraza",
    "El Batidor Dorado", "Pimienta y Tomillo", "Vista al Puerto", "El Horno de Piedra", "El Limonero",
    "El Sauce", "El Tenedor", "Rincón de Albahaca", "El Puente de Piedra", "El Plato Chico",
    "La Mora Silvestre", "El Cedro", "El Gran Roble", "Palacio Azafrán", "Luz de Luna", "La Sartén",
    "Canción del Río", "Calle Tomate", "La Ostra Feliz", "El Portal", "Pino y Brasa", "La Silla Azul",
    "El Naranjal", "Pequeño Nápoles", "El Enebro", "La Ciruela", "El Rincón Dulce", "La Canela", "El Tilo",
    NULL};

static const char *const es_titles[] = {
    "Reunión de equipo", "Dentista", "Clase de yoga", "Noche de cine", "Club de lectura", "Clase de piano",
    "Revisión del proyecto", "Cena familiar", "Taller del coche", "Reunión de presupuesto",
    "Fiesta de cumpleaños", "Plan de vacaciones", "Entrevista", "Natación", "Reunión de padres",
    "Taller de diseño", "Informe de ventas", "Jardinería", "Oculista", "Junta directiva",
    "Entrenamiento de fútbol", "Pausa del café", "Curso de dibujo", "Visita al piso", "Asesor fiscal",
    "Clase de baile", "Demostración", "Llamada con cliente", "Ensayo del coro", "Noche de juegos", "Vacuna",
    "Clase de inglés", "Sesión de fotos", "Comida de trabajo", "Club de ajedrez", "Análisis de sangre",
    "Reunión semanal", "Curso de cocina", "Curso de seguridad", "Peluquería", NULL};

static const char *const es_items[] = {
    "comida", "taxi", "billete de tren", "hotel", "aparcamiento", "café", "libros", "papel", "flores",
    "gasolina", "cena", "desayuno", "sellos", "programas", "auriculares", "teclado", "silla", "teléfono",
    "merienda", "supermercado", "museo", "billete de bus", "bolígrafos", "correo", "regalo", "peluquería",
    "zapatos", "farmacia", "pilas", "paraguas", NULL};

static const char *const es_products[] = {
    "cuadernos", "lápices", "tazas", "lámparas", "carpetas", "sobres", "botellas", "sillas", "velas",
    "toallas", "cojines", "platos", "vasos", "bombillas", "pilas", "cables", "mochilas", "carteles",
    "pegatinas", "etiquetas", "pizarras", "rotuladores", "calendarios", "cajas", "mantas", "cestas",
    "espejos", "relojes", "bandejas", "ganchos", NULL};

static const char *const es_texts[] = {
    "Llego tarde", "Llámame luego", "Hasta pronto", "Feliz cumpleaños", "Ya estoy en casa",
    "La cena está lista", "Mucha suerte", "Gracias por todo", "Voy de camino", "Compra leche",
    "El tren va tarde", "Reunión cancelada", "Buen viaje", "Que te mejores", "Dónde estás",
    "Lo he encontrado", "Hasta mañana", "Tenemos que hablar", "Casi llego", "Trae el portátil",
    "No pasa nada", "Buen trabajo", "Abre la puerta", "Espérame", NULL};

static const synth_phrases es_phrases[SYNTH_N_INTENTS] = {
    [SYNTH_SET_LIGHT] =
        {{"Pon la luz {ofroom} al {level} %.", "Baja la luz {inroom} al {level} %.",
          "Ajusta la lámpara {ofroom} al {level} %.",
          "Quiero un {level} % de luz {inroom}.", "Luz {ofroom} al {level} %, por favor.",
          "La lámpara {ofroom} al {level} %.",
          "Cambia el brillo {inroom} al {level} %.", "{level} % de luz {inroom}, gracias.",
          "Deja la luz {ofroom} en {level} %."},
         {"¿Puedes poner la luz {ofroom} al {level} %?", "Ajusta la luz {inroom} al {level} %, por favor.",
          "Quisiera la luz {ofroom} al {level} %."},
         {"De acuerdo, luz {ofroom} al {level} %.", "La luz {inroom} está al {level} %.",
          "Hecho: {level} % de luz {inroom}.",
          "Claro, la lámpara {ofroom} está al {level} %."}},
    [SYNTH_SET_HEATING] =
        {{"Pon la calefacción {ofroom} a {degrees} grados.", "Quiero {degrees} grados {inroom}.",
          "Ajusta la calefacción {inroom} a {degrees} grados.",
          "Calienta a {degrees} grados {inroom}.", "Necesito {degrees} grados {inroom}.",
          "Calefacción {ofroom} a {degrees} grados, gracias.",
          "Sube la calefacción {ofroom} a {degrees} grados.", "{degrees} grados {inroom}, por favor.",
          "El termostato {ofroom} a {degrees} grados."},
         {"¿Puedes poner la calefacción {ofroom} a {degrees} grados?", "Quisiera {degrees} grados {inroom}.",
          "Ajusta el termostato {ofroom} a {degrees} grados."},
         {"De acuerdo, calefacción {ofroom} a {degrees} grados.", "Habrá {degrees} grados {inroom}.",
          "Hecho: {degrees} grados {inroom}.",
          "Claro, el termostato {ofroom} está a {degrees} grados."}},
    [SYNTH_PLAY_MUSIC] =
        {{"Pon {artist}.", "Pon música de {artist}.", "Quiero escuchar {artist}.",
          "Pon {artist}, por favor.", "Toca canciones de {artist}.",
          "Déjame oír {artist}.", "Toca algo de {artist}.", "Música de {artist}, gracias.",
          "¿Puedes poner {artist}?"},
         {"Me gustaría escuchar {artist}.", "¿Puedes tocar música de {artist}?",
          "Pon canciones de {artist}."},
         {"De acuerdo, suena {artist}.", "Aquí tienes música de {artist}.", "Ahora suena {artist}.",
          "Claro, canciones de {artist}."},
         {"Busca {artist} y ponlo.", "Tengo ganas de oír {artist}.",
          "¿Podemos escuchar a {artist} ahora?", "Quisiera oír algo de {artist}.",
          "¿Puedes empezar con {artist}?", "Pon las canciones nuevas de {artist}."}},
    [SYNTH_SET_ALARM] =
        {{"Pon una alarma a las {time}.", "Despiértame a las {time}.", "Necesito una alarma a las {time}.",
          "Alarma a las {time}, por favor.",
          "Por favor, despiértame a las {time}.", "Pon el despertador a las {time}.",
          "¿Puedes poner una alarma para las {time}?",
          "Tengo que levantarme a las {time}.", "Haz sonar la alarma a las {time}."},
         {"¿Puedes despertarme a las {time}?", "Pon la alarma a las {time}, por favor.",
          "Quiero una alarma para las {time}."},
         {"De acuerdo, alarma a las {time}.", "Te despierto a las {time}.",
          "Tu alarma está puesta a las {time}.",
          "Claro, la alarma sonará a las {time}."}},
    [SYNTH_CREATE_EVENT] =
        {{"Añade {title} {onday} a las {time}.", "Pon {title} en mi agenda {onday} a las {time}.",
          "Programa {title} para {onday} a las {time}.",
          "Nuevo evento: {title}, {day}, {time}.", "Tengo {title} {onday} a las {time}.",
          "Apunta {title}, {day}, {time}.",
          "{day} a las {time}: {title}. Añádelo.", "Crea el evento {title} {onday} a las {time}.",
          "A las {time} {onday} tengo {title}, apúntalo."},
         {"¿Puedes añadir {title} {onday} a las {time}?", "Apunta {title} {onday} a las {time} en la agenda.",
          "Programa {title}, {day} a las {time}, por favor."},
         {"De acuerdo, {title} {onday} a las {time}.", "{title} está en tu agenda {onday} a las {time}.",
          "Añadido: {title}, {day}, {time}.",
          "Claro, {title} queda para {onday} a las {time}."},
         {"¿Puedes anotar {title} {onday} a las {time}?",
          "Hay que añadir {title} {onday} a las {time}.",
          "Me gustaría tener {title} {onday} a las {time} en la agenda.",
          "¿Puedes poner {title} para {day} a las {time}?", "Recuerda {title} {onday} a las {time}."}},
    [SYNTH_SEND_MESSAGE] =
        {{"Dile a {to}: {text}.", "Envía un mensaje a {to}: {text}.", "Escribe a {to}: {text}.",
          "Mensaje para {to}: {text}.",
          "Avisa a {to}: {text}.", "Envía \"{text}\" a {to}.", "Escribe \"{text}\" a {to}, por favor.",
          "Manda a {to}: {text}.",
          "Por favor, escribe a {to}: {text}."},
         {"Manda un mensaje a {to}: {text}.", "¿Puedes decir a {to}: {text}?", "Manda \"{text}\" a {to}."},
         {"De acuerdo, le digo a {to}: {text}.", "Mensaje enviado a {to}: {text}.",
          "He escrito a {to}: {text}.",
          "Claro, \"{text}\" enviado a {to}."},
         {"¿Puedes escribir a {to}: {text}?", "Envía esto a {to}: {text}.",
          "Por favor, dile a {to}: {text}.", "Un mensaje para {to}: {text}.",
          "¿Puedes mandar \"{text}\" a {to}?"}},
    [SYNTH_FIND_FLIGHT] =
        {{"Busca un vuelo de {from} a {to}.", "Quiero volar de {from} a {to}.",
          "Vuelos de {from} a {to}, por favor.",
          "Muéstrame vuelos de {from} a {to}.", "Necesito un vuelo a {to} desde {from}.",
          "Un avión de {from} a {to}, gracias.",
          "¿Hay un vuelo de {from} a {to}?", "Busca un vuelo a {to} con salida de {from}.",
          "Encuentra vuelos desde {from} hasta {to}."},
         {"¿Puedes buscar vuelos de {from} a {to}?", "Quisiera un vuelo de {from} a {to}.",
          "Busca vuelos a {to} desde {from}, por favor."},
         {"De acuerdo, vuelos de {from} a {to}.", "Busco un vuelo de {from} a {to}.",
          "Aquí hay vuelos de {from} a {to}.",
          "Claro, miro vuelos de {from} a {to}."},
         {"¿Puedes mostrar vuelos de {from} a {to}?", "Estoy buscando un vuelo a {to} desde {from}.",
          "Me gustaría ver vuelos de {from} a {to}."}},
    [SYNTH_BOOK_HOTEL] =
        {{"Reserva un hotel en {city} para {nights} noches.",
          "Necesito un hotel en {city} por {nights} noches.",
          "{nights} noches en {city}, reserva un hotel.",
          "Reserva una habitación en {city} para {nights} noches.",
          "Búscame un hotel en {city}, {nights} noches.",
          "Me quedo {nights} noches en {city}, reserva un hotel.",
          "Hotel en {city}, {nights} noches, gracias.", "Una habitación en {city} para {nights} noches.",
          "Por favor, reserva {nights} noches de hotel en {city}."},
         {"¿Puedes reservar un hotel en {city} para {nights} noches?",
          "Quisiera un hotel en {city} por {nights} noches.",
          "Reserva {nights} noches en un hotel en {city}."},
         {"De acuerdo, un hotel en {city} para {nights} noches.",
          "Tu hotel en {city} está reservado para {nights} noches.",
          "Hecho: {nights} noches en {city}.", "Claro, {nights} noches de hotel en {city}."},
         {"¿Puedes buscar un hotel en {city} para {nights} noches?",
          "Me gustaría pasar {nights} noches en un hotel en {city}.",
          "Encuentra una habitación en {city} para {nights} noches."}},
    [SYNTH_BOOK_TABLE] =
        {{"Reserva una mesa en {name} para {people} personas a las {time}.",
          "Una mesa para {people} en {name}, {time}.",
          "Una mesa en {name} a las {time} para {people} personas, gracias.",
          "Somos {people} y queremos comer en {name} a las {time}.",
          "Mesa para {people} en {name} a las {time}.", "Reserva en {name}, {people} personas, {time}.",
          "A las {time} necesito una mesa para {people} en {name}.",
          "Pide mesa en {name} para {people} a las {time}.",
          "Cena en {name} para {people} personas a las {time}, reserva."},
         {"¿Puedes reservar una mesa para {people} personas en {name} a las {time}?",
          "Quisiera una mesa en {name} para {people} a las {time}.",
          "Reserva mesa en {name} a las {time} para {people} personas."},
         {"De acuerdo, {name} para {people} personas a las {time}.",
          "Tu mesa en {name} está reservada para {people} a las {time}.",
          "Hecho: {people} personas en {name}, {time}.",
          "Claro, una mesa para {people} en {name} a las {time}."},
         {"¿Podemos comer en {name} a las {time}? Somos {people}.",
          "Me gustaría una mesa en {name} a las {time} para {people}.",
          "Queremos una mesa para {people} personas en {name} a las {time}.",
          "¿Puedes reservar en {name} a las {time} para {people}?",
          "Búscanos una mesa en {name} para {people} a las {time}."}},
    [SYNTH_CONTACT] =
        {{"Nuevo contacto: {name}, {city}, {phone}.", "Guarda a {name} de {city}, teléfono {phone}.",
          "{name} vive en {city}, número {phone}.",
          "Añade a {name} en {city} con el número {phone}.", "Soy {name} de {city}, mi teléfono es {phone}.",
          "El número de {name} en {city} es {phone}.", "Contacto {name}, teléfono {phone}, ciudad {city}.",
          "Llama a {name} en {city} al {phone}.", "Apunta a {name}, {phone}, de {city}."},
         {"Guarda el contacto {name}, {phone}, de {city}.", "Añade a {name} de {city}, número {phone}.",
          "{name} en {city} tiene el número de teléfono {phone}."},
         {"De acuerdo, {name} en {city}, teléfono {phone}.", "Guardado: {name} de {city}, {phone}.",
          "{name} de {city} tiene el número {phone}.",
          "Claro, anotado: {name}, {city}, {phone}."},
         {"¿Puedes anotar a {name}, {city}, {phone}?",
          "El número de teléfono de {name} de {city} es {phone}.",
          "Por favor, guarda a {name} de {city}, teléfono {phone}."}},
    [SYNTH_EXPENSE] =
        {{"He gastado {amount} euros en {item}.", "Gasto: {item}, {amount} euros.",
          "{amount} euros en {item}.", "Añade {amount} euros de {item}.",
          "He pagado {amount} euros por {item}.", "Anota un gasto: {item}, {amount} euros.",
          "Gasté {amount} euros: {item}.",
          "Registra {item}, {amount} euros.", "Apunta {amount} euros en {item}."},
         {"Tuve que pagar {amount} euros por {item}.", "Anota un gasto de {amount} euros en {item}.",
          "Registra el gasto {item}, {amount} euros."},
         {"De acuerdo, {amount} euros en {item}.", "Anotado: {item}, {amount} euros.",
          "{amount} euros en {item}, registrado.",
          "Claro, {item}: {amount} euros."},
         {"¿Puedes añadir {amount} euros por {item}?", "Por {item} di {amount} euros.",
          "Escribe un gasto de {amount} euros, {item}.", "Guarda el gasto de {item}: {amount} euros.",
          "Tuve {amount} euros de gastos en {item}."}},
    [SYNTH_ORDER] =
        {{"Pide {count} {product}.", "Necesito {count} {product}.", "Por favor, pide {count} {product}.",
          "Queremos {count} {product}.",
          "{count} {product}, por favor.", "Compra {count} {product} para nosotros.",
          "¿Me das {count} {product}?", "Envíanos {count} {product}.",
          "Nuevo pedido: {product}, {count} unidades."},
         {"Quisiera pedir {count} {product}.", "Tenemos que comprar {count} {product}.",
          "¿Puedes pedir {count} {product}?"},
         {"De acuerdo, {count} {product}.", "Tu pedido: {count} {product}.",
          "{count} {product}, pedido hecho.", "Claro, pido {count} {product}."},
         {"¿Puedes traernos {count} {product}?", "Quiero comprar {count} {product}.",
          "Nos gustaría pedir {count} {product}."}},
    [SYNTH_APPOINTMENT] =
        {{"{name} tiene cita {onday} a las {time}.", "Cita para {name}, {day}, {time}.",
          "Soy {name} y puedo venir {onday} a las {time}.",
          "Apunta a {name} para {onday} a las {time}.", "{day} a las {time} para {name}, gracias.",
          "Una cita {onday} a las {time} para {name}.",
          "{name} viene {onday} a las {time}.", "A las {time} {onday}: {name}.",
          "Dale hora a {name} {onday} a las {time}."},
         {"Pide una cita para {name} {onday} a las {time}.", "{name} vendrá {onday} a las {time}.",
          "Anota a {name}, {day}, {time}."},
         {"De acuerdo, {name} {onday} a las {time}.", "Anotado: {name}, {day}, {time}.",
          "{name} tiene cita {onday} a las {time}.",
          "Claro, cita de {name} para {onday} a las {time}."},
         {"¿Puedes anotar a {name} {onday} a las {time}?",
          "{name} quiere venir {onday} a las {time}.", "Reserva {onday} a las {time} para {name}."}},
    [SYNTH_TRIP] =
        {{"Un viaje de {from} a {to} por {nights} noches.",
          "Viajo de {from} a {to} y me quedo {nights} noches.",
          "Vamos de {from} a {to}, {nights} noches.", "{nights} noches en {to}, con salida de {from}.",
          "Planea un viaje de {from} a {to}, {nights} noches.",
          "De {from} a {to} por {nights} noches, por favor.",
          "Solicitud de viaje: {from} a {to}, {nights} noches.",
          "Salgo de {from} hacia {to} y me quedo {nights} noches.",
          "Nos vamos a {to} desde {from}, {nights} noches."},
         {"Quiero viajar de {from} a {to} por {nights} noches.",
          "Anota un viaje de {from} a {to}, {nights} noches.",
          "Viajamos a {to} desde {from} por {nights} noches."},
         {"De acuerdo, de {from} a {to} por {nights} noches.", "Tu viaje: {from} a {to}, {nights} noches.",
          "{nights} noches en {to}, desde {from}.",
          "Claro, un viaje de {from} a {to}, {nights} noches."},
         {"Me gustaría ir de {from} a {to} por {nights} noches.",
          "Escribe nuestro viaje de {from} a {to}, {nights} noches.",
          "Queremos salir de {from} hacia {to}, {nights} noches."}},
    [SYNTH_PERSON] =
        {{"{name} tiene {age} años y vive en {city}.", "Me llamo {name}, tengo {age} años y soy de {city}.",
          "{name}, {age} años, de {city}.",
          "{name} de {city} tiene {age} años.", "Esta persona es {name}, {age} años, de {city}.",
          "Soy {name}, {age} años, y vivo en {city}.",
          "En {city} vive {name}, de {age} años.", "{name} vive en {city} y tiene {age} años.",
          "Persona: {name}, edad {age}, ciudad {city}."},
         {"Vivo en {city}, me llamo {name} y tengo {age} años.", "{name} tiene {age} años y viene de {city}.",
          "Aquí está {name} de {city}, {age} años."},
         {"De acuerdo, {name}, {age} años, de {city}.", "{name} tiene {age} años y vive en {city}.",
          "Anotado: {name} de {city}, {age} años.",
          "Claro, {name} en {city} tiene {age} años."},
         {"Vengo de {city}, soy {name} y tengo {age} años.",
          "Mi amiga {name} de {city} tiene {age} años.",
          "Tengo {age} años, me llamo {name} y vivo en {city}."}},
    [SYNTH_SET_TIMER] =
        {{"Pon un temporizador de {minutes} minutos.", "Inicia un temporizador, {minutes} minutos.",
          "Temporizador de {minutes} minutos, por favor.",
          "Avísame en {minutes} minutos.", "Cuenta {minutes} minutos."},
         {NULL},
         {"De acuerdo, temporizador de {minutes} minutos.", "El temporizador corre {minutes} minutos.",
          "{minutes} minutos, desde ahora."}},
    [SYNTH_GET_WEATHER] =
        {{"¿Qué tiempo hará en {city} {onday}?", "El tiempo en {city}, {day}, por favor.",
          "¿Va a llover en {city} {onday}?",
          "Dime el tiempo {onday} en {city}.", "Quiero la previsión de {city} para {onday}."},
         {NULL},
         {"Miro el tiempo en {city} para {onday}.", "Llega la previsión de {city} para {onday}.",
          "De acuerdo, el tiempo en {city}, {day}."}},
};

static const char *const es_open[] = {
    "¡Hola! ", "Hola. ", "Buenos días. ", "Una petición: ", "Oye. ", "Una cosa: ", NULL};
static const char *const es_open_held[] = {"Buenas tardes. ", "¡Hola, hola! ", "Un favor: ", NULL};

static const synth_pair es_chat[] = {
    {"¡Hola!", "¡Hola! ¿En qué puedo ayudar?"},
    {"Muchas gracias.", "De nada."},
    {"¿Cómo estás?", "Estoy bien, gracias."},
    {"Cuéntame un chiste.", "Se me da mejor ayudar que contar chistes."},
    {"¿Cómo te llamas?", "Soy tu asistente."},
    {"¿Quién escribió este libro?", "No lo sé, lo siento."},
    {"Me aburro.", "Un paseo corto te vendría bien."},
    {"Buenas noches.", "Buenas noches, que descanses."},
    {"¿Te gustan los gatos?", "Los gatos son animales preciosos."},
    {"¿Cuál es el sentido de la vida?", "Es una gran pregunta."},
    {"¿Sabes cocinar?", "No, pero puedo ayudar a planear."},
    {"¡Ha sido genial!", "Me alegro de que te guste."},
    {NULL, NULL}};

static const char *const es_keys[] = {
    "nombre", "ciudad", "teléfono", "calle", "color", "código", "artículo", "animal", "día", "hora",
    "precio", "cliente", "título", NULL};
static const char *const es_ask[] = {
    "¿Qué pone en {key}?", "Dime: {key}.", "¿Qué valor tiene {key}?", "¿{key}?", NULL};
static const char *const es_repeat[] = {"Repite: {items}", "Dilo otra vez: {items}", "Copia: {items}", NULL};
static const char *const es_list[] = {"Uno por línea: {items}", "Haz una lista: {items}", NULL};
static const char *const es_syllables[] = {
    "ba", "bra", "ca", "cor", "cha", "da", "de", "es", "fer", "ga", "gue", "ja", "la", "le", "lla", "ma",
    "mar", "mo", "na", "ña", "ño", "pa", "pe", "que", "ra", "ría", "ro", "sa", "san", "ta", "tra", "va",
    "vi", "zá", "món", "guí", NULL};

const synth_lang synth_es = {
    .locale = "es-ES", .rooms = es_rooms, .days = es_days,
    .pools = {es_names, es_cities, es_artists, es_restaurants, es_titles, es_items, es_products, es_texts},
    .phrases = es_phrases, .open = es_open, .open_held = es_open_held, .chat = es_chat,
    .keys = es_keys, .ask = es_ask, .repeat = es_repeat, .list = es_list,
    .syllables = es_syllables, .comma = ", ", .swap = NULL};
